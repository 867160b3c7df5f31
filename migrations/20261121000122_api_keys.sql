-- Keys for programs. What is stored is the SHA-256 of 256 random bits. Every process that verifies access tokens looks keys up by
-- one function, which tells of one key at a time, to whoever has it, and keeps when it was used.

create table identity.api_keys (
    api_key_id uuid not null,
    key_hash bytea not null,
    user_id uuid not null,
    family_id uuid,
    name text not null,
    scopes text[] not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    last_used_at timestamptz,
    ended_at timestamptz,
    constraint api_keys_pkey primary key (api_key_id),
    constraint api_keys_hash_unique unique (key_hash),
    constraint api_keys_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint api_keys_hash_length check (octet_length(key_hash) = 32),
    constraint api_keys_name_length check (length(name) between 1 and 100),
    constraint api_keys_scopes_known check (
        cardinality(scopes) between 1 and 4 and scopes <@ array['read', 'commands', 'import', 'export']
    ),
    constraint api_keys_a_year_at_most check (expires_at <= created_at + interval '366 days')
);

create index api_keys_user_idx on identity.api_keys (user_id, created_at);

comment on column identity.api_keys.family_id is 'the one family it is for; null: every family its owner belongs to';
comment on column identity.api_keys.last_used_at is 'to the minute';

revoke all on identity.api_keys from public;
alter table identity.api_keys enable row level security;
alter table identity.api_keys force row level security;
create policy api_keys_writer on identity.api_keys for all to kinledger_writer using (true) with check (true);
grant select, insert, delete on identity.api_keys to kinledger_writer;
grant update (ended_at) on identity.api_keys to kinledger_writer;

create function identity.use_api_key(hash bytea)
    returns table (api_key_id uuid, user_id uuid, family_id uuid, scopes text[], seconds_left bigint)
    language plpgsql
    security definer
    set search_path = pg_catalog
as $$
begin
    update identity.api_keys as used
    set last_used_at = clock_timestamp()
    where used.key_hash = hash
        and used.ended_at is null
        and (used.last_used_at is null or used.last_used_at < clock_timestamp() - interval '1 minute');
    return query
        select
            found.api_key_id,
            found.user_id,
            found.family_id,
            found.scopes,
            floor(extract(epoch from found.expires_at - clock_timestamp()))::bigint
        from identity.api_keys as found
        where found.key_hash = hash and found.ended_at is null and found.expires_at > clock_timestamp();
end
$$;

revoke all on function identity.use_api_key(bytea) from public;
grant execute on function identity.use_api_key(bytea)
    to kinledger_writer, kinledger_projector, kinledger_reader, kinledger_replayer;
