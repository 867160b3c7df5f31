-- When the person behind a session last proved who they are, and by what. Dangerous operations ask for a fresh proof; refreshing
-- a token is none. A session from before this migration was last proven when it was opened.
alter table identity.sessions
    add column proven_at timestamptz,
    add column proven_by text[];

update identity.sessions
set proven_at = created_at, proven_by = '{pwd}';

alter table identity.sessions
    alter column proven_at set not null,
    alter column proven_at set default clock_timestamp(),
    alter column proven_by set not null,
    alter column proven_by set default '{pwd}',
    add constraint sessions_proven_by_methods check (cardinality(proven_by) between 1 and 8);

comment on column identity.sessions.proven_by is 'authentication methods of that proof, as RFC 8176 names them';

grant update (proven_at, proven_by) on identity.sessions to kinledger_writer;
