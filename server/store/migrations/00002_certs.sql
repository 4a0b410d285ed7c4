-- +goose Up

-- What the certificate rooms of all processes on this store share: keys and
-- chains, the account key, answers to challenges. Sealed with the server key.
create table certs (
    ca      text not null, -- the directory of the authority: another one has other certificates
    key     text not null,
    data    bytea not null,
    updated bigint not null,
    primary key (ca, key)
);

-- What was asked of the authority, for its weekly and hourly limits.
create table cert_orders (
    id      text primary key,
    ca      text not null,
    host    text not null,
    zone    text not null,   -- the registered domain that the limit counts for
    outcome text not null,   -- new, renewed, refused
    at      bigint not null
);
create index cert_orders_at on cert_orders (ca, at);

-- When a host whose order failed may be tried again.
create table cert_tries (
    ca       text not null,
    host     text not null,
    failures bigint not null,
    next     bigint not null,
    error    text not null,
    primary key (ca, host)
);

-- Who does something that only one process may do at a time, and until when
-- the others believe that it is alive.
create table locks (
    name    text primary key,
    owner   text not null,
    expires bigint not null
);
