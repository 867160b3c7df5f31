-- Passkeys (WebAuthn): public keys that somebody's devices sign with, and the challenges that are to be signed. Challenges are
-- kept as SHA-256 and taken once.

create table identity.passkeys (
    passkey_id uuid not null,
    user_id uuid not null,
    credential_id bytea not null,
    public_key bytea not null,
    sign_count bigint not null,
    name text not null,
    created_at timestamptz not null default clock_timestamp(),
    last_used_at timestamptz,
    constraint passkeys_pkey primary key (passkey_id),
    constraint passkeys_credential_id_unique unique (credential_id),
    constraint passkeys_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint passkeys_credential_id_length check (octet_length(credential_id) between 16 and 1023),
    constraint passkeys_public_key_length check (octet_length(public_key) between 32 and 1024),
    constraint passkeys_sign_count_range check (sign_count between 0 and 4294967295),
    constraint passkeys_name_length check (length(name) between 1 and 100)
);

create index passkeys_user_idx on identity.passkeys (user_id);

comment on column identity.passkeys.public_key is 'COSE_Key (RFC 9052), as the authenticator wrote it';
comment on column identity.passkeys.sign_count is 'the authenticator''s own count; one that goes back is a copy of the key';

create table identity.passkey_challenges (
    challenge_hash bytea not null,
    purpose text not null,
    user_id uuid,
    address_hash bytea,
    expires_at timestamptz not null,
    constraint passkey_challenges_pkey primary key (challenge_hash),
    constraint passkey_challenges_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint passkey_challenges_hash_length check (octet_length(challenge_hash) = 32),
    constraint passkey_challenges_address_hash_length check (octet_length(address_hash) = 32),
    constraint passkey_challenges_purpose check (
        (purpose = 'sign-in' and user_id is null) or (purpose in ('add', 'prove') and user_id is not null)
    )
);

create index passkey_challenges_user_idx on identity.passkey_challenges (user_id, expires_at);
create index passkey_challenges_expires_at_idx on identity.passkey_challenges (expires_at);

do $$
declare
    name text;
begin
    foreach name in array array['passkeys', 'passkey_challenges'] loop
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

grant update (sign_count, name, last_used_at) on identity.passkeys to kinledger_writer;
