-- +goose Up
alter table users add column disabled boolean not null default false;
alter table users add column rights text not null default '{}'; -- JSON of relay.Rights

alter table tokens add column scopes text not null default '';    -- with spaces between; none: all
alter table tokens add column endpoints text not null default ''; -- patterns, the same
alter table tokens add column parent text not null default '';    -- no reference: it may go first

-- Who did what. It says so still when the user is gone.
create table audit (
    id      text primary key, -- sorts by time
    at      bigint not null,
    user_id text not null,
    actor   text not null, -- the user's name then
    token   text not null, -- name of the token
    address text not null,
    action  text not null,
    target  text not null,
    result  text not null, -- ok, or the code of the problem
    detail  text not null
);
create index audit_user on audit (user_id, id);
create index audit_at on audit (at);
