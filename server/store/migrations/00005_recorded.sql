-- What the server has recorded of requests and answers, for people to look at. Unlike
-- events nobody was promised anything: the oldest go first.

-- +goose Up
create table recorded (
    user_id     text not null references users (id) on delete cascade,
    seq         bigint not null, -- grows with the time
    id          text not null,
    endpoint_id text not null references endpoints (id) on delete cascade,
    event_id    text not null, -- no reference: the event may be purged before
    began       bigint not null,
    bytes       bigint not null, -- of all three below
    head        bytea not null,
    primary key (user_id, seq)
);
create unique index recorded_id on recorded (user_id, id);
create index recorded_began on recorded (user_id, began, bytes);

-- Apart, so that a list does not read them.
create table recorded_bodies (
    user_id  text not null,
    seq      bigint not null,
    request  bytea not null,
    response bytea not null,
    primary key (user_id, seq),
    foreign key (user_id, seq) references recorded (user_id, seq) on delete cascade
);

-- How much came and failed in each step of time, of all requests whether recorded or
-- not.
create table traffic (
    user_id  text not null references users (id) on delete cascade,
    at       bigint not null, -- when the step began
    requests bigint not null,
    errors   bigint not null,
    primary key (user_id, at)
);

-- Who is signed in on the dashboard. A session is as good as its token, and ends with
-- it.
create table sessions (
    hash     text primary key, -- SHA-256 of the cookie, hexadecimal
    token_id text not null references tokens (id) on delete cascade,
    created  bigint not null,
    expires  bigint not null
);
create index sessions_token on sessions (token_id);
create index sessions_expires on sessions (expires);
