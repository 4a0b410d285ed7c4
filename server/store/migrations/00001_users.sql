-- Identifiers and hashes are text, times are milliseconds since 1970 (0: never),
-- so that the same statements run on SQLite and on PostgreSQL.

-- +goose Up
create table users (
    id      text primary key,
    name    text not null unique,
    admin   boolean not null,
    created bigint not null
);

create table tokens (
    id        text primary key,
    user_id   text not null references users (id) on delete cascade,
    name      text not null,
    hash      text not null unique, -- SHA-256 of the secret, hexadecimal
    prefix    text not null,
    created   bigint not null,
    expires   bigint not null,
    last_used bigint not null,
    last_addr text not null
);
create index tokens_user on tokens (user_id);

create table names (
    name    text primary key,
    user_id text not null references users (id) on delete cascade,
    created bigint not null
);
create index names_user on names (user_id);

-- Which name the same command got last time.
create table default_names (
    user_id text not null references users (id) on delete cascade,
    hint    text not null,
    name    text not null,
    primary key (user_id, hint)
);

-- Secrets by which an agent takes its session back, each good for one use.
create table resumes (
    session_id text primary key,
    hash       text not null unique,
    user_id    text not null references users (id) on delete cascade,
    agent_id   text not null,
    expires    bigint not null
);
create index resumes_user on resumes (user_id);
create index resumes_expires on resumes (expires);
