-- What was said of who may do what with an account; unsaid levels follow from owner and role (ADR 0035).
create table views.account_shares (
    family_id uuid not null,
    account_id uuid not null,
    member_id uuid not null,
    level text not null,
    constraint account_shares_pkey primary key (family_id, account_id, member_id),
    constraint account_shares_level_check check (level in ('none', 'view', 'annotate', 'full'))
);

grant select, insert, update, delete, truncate on views.account_shares to kinledger_projector;
grant select on views.account_shares to kinledger_reader;
alter table views.account_shares enable row level security;
alter table views.account_shares force row level security;
create policy account_shares_projector on views.account_shares to kinledger_projector using (true) with check (true);
create policy account_shares_reader on views.account_shares for select to kinledger_reader
    using (family_id = nullif(current_setting('kinledger.family_id', true), '')::uuid);
-- The shape, for tables of a past moment; no policy shows it a row.
grant select on views.account_shares to kinledger_replayer;

-- Whose accounts there are and how they are shared, told from the log itself: asked before a whole history is given out, and
-- for past views. Few events are in it, so an append hardly ever adds to it.
create index events_sharing on log.events (family_id, family_seq, lane)
    where aggregate_type = 'ledger-account' and event_type in ('AccountOpened', 'AccountShared');
