-- Signing in with an account elsewhere. Who somebody is there is kept as a keyed hash of issuer and subject, whose key is not in
-- the database: it is compared, never read. Of a sign-in under way only the SHA-256 of two random values is kept.

create table identity.linked_sign_ins (
    identity_hash bytea not null,
    user_id uuid not null,
    provider text not null,
    linked_at timestamptz not null default clock_timestamp(),
    last_used_at timestamptz,
    constraint linked_sign_ins_pkey primary key (identity_hash),
    constraint linked_sign_ins_provider_unique unique (user_id, provider),
    constraint linked_sign_ins_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint linked_sign_ins_hash_length check (octet_length(identity_hash) = 32),
    constraint linked_sign_ins_provider_length check (length(provider) between 1 and 40)
);

comment on column identity.linked_sign_ins.identity_hash is
    'HMAC-SHA-256 over issuer and subject; the key is outside the database';
comment on column identity.users.email is 'null for who signs in without one: by a paired device, a phone, or an account elsewhere';

create table identity.provider_flows (
    state_hash bytea not null,
    binding_hash bytea not null,
    provider text not null,
    user_id uuid,
    session_id uuid,
    address_hash bytea,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    constraint provider_flows_pkey primary key (state_hash),
    constraint provider_flows_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint provider_flows_session_fkey foreign key (session_id)
        references identity.sessions (session_id) on delete cascade,
    constraint provider_flows_hash_lengths check (
        octet_length(state_hash) = 32 and octet_length(binding_hash) = 32 and octet_length(address_hash) = 32
    ),
    constraint provider_flows_provider_length check (length(provider) between 1 and 40),
    constraint provider_flows_link_whole check ((user_id is null) = (session_id is null))
);

create index provider_flows_expires_at_idx on identity.provider_flows (expires_at);
create index provider_flows_address_idx on identity.provider_flows (address_hash, created_at);
create index provider_flows_user_idx on identity.provider_flows (user_id) where user_id is not null;
create index provider_flows_session_idx on identity.provider_flows (session_id) where session_id is not null;

comment on column identity.provider_flows.user_id is 'whose account is to be linked; null for a sign-in';
comment on column identity.provider_flows.binding_hash is 'of what only the browser that began has';

do $$
declare
    name text;
begin
    foreach name in array array['linked_sign_ins', 'provider_flows'] loop
        execute format('revoke all on identity.%I from public', name);
        execute format('alter table identity.%I enable row level security', name);
        execute format('alter table identity.%I force row level security', name);
        execute format(
            'create policy %I on identity.%I for all to kinledger_writer using (true) with check (true)',
            name || '_writer', name
        );
        execute format('grant select, insert, delete on identity.%I to kinledger_writer', name);
    end loop;
end
$$;

grant update (last_used_at) on identity.linked_sign_ins to kinledger_writer;
