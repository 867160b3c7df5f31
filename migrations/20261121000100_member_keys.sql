-- Keys of members: under them personal texts of events are sealed. A schema of its own, so that a backup without it (and without
-- the views) holds no readable text; it has to be backed up apart (docs/operations.md, ADR 0031).

create schema keys;

revoke all on schema keys from public;
grant usage on schema keys to kinledger_writer, kinledger_projector, kinledger_replayer;

-- One row per subject and generation. The subject is a member, or the family itself for texts of nobody in particular. The key
-- is wrapped under the installation's key-encryption key. Of somebody who was erased the row stays, without the key: so a key
-- that is missing is told from one that was destroyed.
create table keys.member_keys (
    family_id uuid not null,
    subject_id uuid not null,
    generation integer not null default 1,
    kek_id text,
    wrapped_key bytea,
    created_at timestamptz not null default clock_timestamp(),
    erased_at timestamptz,
    constraint member_keys_pkey primary key (family_id, subject_id, generation),
    constraint member_keys_generation_positive check (generation > 0),
    constraint member_keys_kek_id_length check (length(kek_id) between 1 and 200),
    constraint member_keys_wrapped_key_length check (octet_length(wrapped_key) between 32 and 4096),
    constraint member_keys_erased check ((erased_at is null) = (wrapped_key is not null) and (wrapped_key is null) = (kek_id is null))
);

comment on column keys.member_keys.erased_at is 'when the key was destroyed; such a row is never changed again';

-- Rotation asks for what is not yet under the new key-encryption key.
create index member_keys_by_kek on keys.member_keys (kek_id) where kek_id is not null;

-- Counts what processes that keep keys in memory have to forget them for. One row.
create table keys.changes (
    is_only boolean not null default true,
    epoch bigint not null default 0,
    constraint changes_pkey primary key (is_only),
    constraint changes_is_only check (is_only)
);
insert into keys.changes default values;

-- A destroyed key stays destroyed, whoever asks.
create function keys.refuse_revival() returns trigger
language plpgsql
as $$
begin
    if old.erased_at is not null then
        raise exception 'the key of % was destroyed for good', old.subject_id using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;
revoke all on function keys.refuse_revival() from public;
create trigger member_keys_stay_erased before update on keys.member_keys
    for each row execute function keys.refuse_revival();

grant select, insert on keys.member_keys to kinledger_writer;
grant update (kek_id, wrapped_key, erased_at) on keys.member_keys to kinledger_writer;
grant select on keys.member_keys to kinledger_projector, kinledger_replayer;
grant select, update (epoch) on keys.changes to kinledger_writer;
grant select on keys.changes to kinledger_projector, kinledger_replayer;

alter table keys.member_keys enable row level security;
alter table keys.member_keys force row level security;
create policy member_keys_writer on keys.member_keys to kinledger_writer using (true) with check (true);
create policy member_keys_feed on keys.member_keys for select to kinledger_projector using (true);
create policy member_keys_replayer on keys.member_keys for select to kinledger_replayer
    using (family_id = nullif(current_setting('kinledger.family_id', true), '')::uuid);
