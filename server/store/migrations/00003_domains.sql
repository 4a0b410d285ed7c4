-- +goose Up
-- Hosts of users' own. Several users may have one pending; one of them can have it.
create table domains (
    host    text not null,
    user_id text not null references users (id) on delete cascade,
    name    text not null,
    state   text not null, -- pending, active, failing
    created bigint not null,
    since   bigint not null,
    checked bigint not null,
    reason  text not null,
    primary key (host, user_id)
);
create index domains_user on domains (user_id);
create unique index domains_held on domains (host) where state <> 'pending';
