-- Children and teens sign in without e-mail: a parent pairs one device with one member's place. Codes and claims are SHA-256 of
-- random values, PINs are argon2id with the pepper, and of a device only its public key is known.

alter table identity.users
    alter column email drop not null,
    alter column password_hash drop not null,
    add constraint users_password_needs_email check (email is not null or password_hash is null);

comment on column identity.users.email is 'null for who signs in by a paired device only';

create table identity.paired_devices (
    device_id uuid not null,
    user_id uuid not null,
    family_id uuid not null,
    member_id uuid not null,
    name text not null,
    algorithm text not null,
    public_key bytea not null,
    pin_hash text,
    pin_failures integer not null default 0,
    pin_waits_until timestamptz,
    paired_by uuid,
    created_at timestamptz not null default clock_timestamp(),
    last_used_at timestamptz,
    revoked_at timestamptz,
    constraint paired_devices_pkey primary key (device_id),
    constraint paired_devices_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint paired_devices_paired_by_fkey foreign key (paired_by) references identity.users (user_id) on delete set null,
    constraint paired_devices_name_length check (length(name) between 1 and 100),
    constraint paired_devices_algorithm check (algorithm in ('ed25519', 'p256')),
    constraint paired_devices_public_key_length check (octet_length(public_key) in (32, 65)),
    constraint paired_devices_pin_hash_form check (pin_hash like '$argon2id$%' and length(pin_hash) <= 300),
    constraint paired_devices_pin_failures_range check (pin_failures between 0 and 10)
);

create index paired_devices_user_idx on identity.paired_devices (user_id);
create index paired_devices_family_idx on identity.paired_devices (family_id, member_id);

create table identity.pairings (
    pairing_id uuid not null,
    secret_hash bytea not null,
    code_hash bytea not null,
    family_id uuid not null,
    member_id uuid not null,
    created_by uuid not null,
    expires_at timestamptz not null,
    claim_hash bytea,
    match_code text,
    device_name text,
    algorithm text,
    public_key bytea,
    device_id uuid,
    constraint pairings_pkey primary key (pairing_id),
    constraint pairings_secret_hash_unique unique (secret_hash),
    constraint pairings_code_hash_unique unique (code_hash),
    constraint pairings_claim_hash_unique unique (claim_hash),
    constraint pairings_member_unique unique (family_id, member_id),
    constraint pairings_created_by_fkey foreign key (created_by) references identity.users (user_id) on delete cascade,
    constraint pairings_device_fkey foreign key (device_id) references identity.paired_devices (device_id) on delete cascade,
    constraint pairings_hash_lengths check (
        octet_length(secret_hash) = 32 and octet_length(code_hash) = 32 and octet_length(claim_hash) = 32
    ),
    constraint pairings_match_code_form check (match_code ~ '^[0-9]{2}$'),
    constraint pairings_device_name_length check (length(device_name) between 1 and 100),
    constraint pairings_claimed_whole check (
        (claim_hash is null) = (public_key is null) and (claim_hash is null) = (match_code is null)
    )
);

create index pairings_expires_at_idx on identity.pairings (expires_at);

comment on column identity.pairings.match_code is 'shown on the device, typed by the parent; worth nothing to anybody else';

create table identity.device_challenges (
    challenge_hash bytea not null,
    device_id uuid not null,
    expires_at timestamptz not null,
    constraint device_challenges_pkey primary key (challenge_hash),
    constraint device_challenges_device_fkey foreign key (device_id)
        references identity.paired_devices (device_id) on delete cascade,
    constraint device_challenges_hash_length check (octet_length(challenge_hash) = 32)
);

create index device_challenges_device_idx on identity.device_challenges (device_id, expires_at);
create index device_challenges_expires_at_idx on identity.device_challenges (expires_at);

alter table identity.sessions
    add column paired_device_id uuid,
    add constraint sessions_paired_device_fkey foreign key (paired_device_id)
        references identity.paired_devices (device_id) on delete cascade;

create index sessions_paired_device_idx on identity.sessions (paired_device_id) where paired_device_id is not null;

comment on column identity.sessions.paired_device_id is 'refreshing takes this device''s signature';

do $$
declare
    name text;
begin
    foreach name in array array['paired_devices', 'pairings', 'device_challenges'] loop
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

grant update (pin_hash, pin_failures, pin_waits_until, last_used_at, revoked_at)
    on identity.paired_devices to kinledger_writer;
grant update on identity.pairings to kinledger_writer;
grant update (paired_device_id, expires_at) on identity.sessions to kinledger_writer;
grant update (expires_at) on identity.refresh_tokens to kinledger_writer;
