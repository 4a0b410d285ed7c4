-- The inbox: endpoints with their settings, the events they kept, and the
-- deliveries of these with their attempts. Headers are lines "Name:value\n".

-- +goose Up
create table endpoints (
    id       text primary key,
    user_id  text not null references users (id) on delete cascade,
    name     text not null unique,
    settings text not null, -- JSON
    secrets  bytea not null, -- sealed JSON
    created  bigint not null
);
create index endpoints_user on endpoints (user_id);

create table events (
    id          text primary key,
    endpoint_id text not null references endpoints (id) on delete cascade,
    state       text not null,
    reason      text not null,
    provider    text not null,
    provider_id text not null,
    type        text not null,
    again_of    text not null, -- no reference: the first may be purged before
    verified    text not null,
    method      text not null,
    target      text not null,
    url         text not null,
    client      text not null,
    received    bigint not null,
    size        bigint not null, -- of the body as it came
    cut         boolean not null, -- only the beginning of the body is kept
    bytes       bigint not null  -- of header and body as they are kept
);
-- Retention reads age, number and bytes from here alone.
create index events_kept on events (endpoint_id, received, id, state, bytes);
create index events_again on events (endpoint_id, provider_id, id) where provider_id <> '';
create index events_rejected on events (endpoint_id, id) where state = 'rejected';

-- Apart from events: what changes with each try is small and does not carry the
-- body along.
create table contents (
    event_id text primary key references events (id) on delete cascade,
    header   bytea not null,
    body     bytea not null
);

create table deliveries (
    id          text primary key,
    event_id    text not null references events (id) on delete cascade,
    endpoint_id text not null, -- that of the event, with which the row goes
    state       text not null,
    replay      boolean not null,
    live        boolean not null,
    try         bigint not null, -- counts claims; with owner it fences off late ones
    attempt     bigint not null,
    lost        bigint not null,
    owner       text not null,
    lease       bigint not null,
    next        bigint not null, -- 0: at once
    reason      text not null,
    created     bigint not null
);
create index deliveries_event on deliveries (event_id, id);
create index deliveries_due on deliveries (endpoint_id, next, id) where state = 'pending';
create index deliveries_open on deliveries (endpoint_id, id) where state in ('pending', 'sending');
create index deliveries_leased on deliveries (lease) where state = 'sending';

create table attempts (
    delivery_id text not null references deliveries (id) on delete cascade,
    try         bigint not null,
    began       bigint not null,
    ended       bigint not null,
    status      bigint not null,
    reason      text not null,
    header      bytea not null,
    body        bytea not null,
    cut         boolean not null,
    primary key (delivery_id, try)
);
