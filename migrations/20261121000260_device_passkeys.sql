-- A paired device may be unlocked by a passkey in place of its PIN: one a device. It is a way in nowhere else and ends with the
-- device, so it stands apart from the passkeys that people sign in by. docs/adr/0039-pairing-of-childrens-devices.md has the choice.
create table identity.paired_device_passkeys (
    device_id uuid not null,
    credential_id bytea not null,
    public_key bytea not null,
    sign_count bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    last_used_at timestamptz,
    constraint paired_device_passkeys_pkey primary key (device_id),
    constraint paired_device_passkeys_credential_id_unique unique (credential_id),
    constraint paired_device_passkeys_device_fkey foreign key (device_id)
        references identity.paired_devices (device_id) on delete cascade,
    constraint paired_device_passkeys_credential_id_length check (octet_length(credential_id) between 16 and 1023),
    constraint paired_device_passkeys_public_key_length check (octet_length(public_key) between 32 and 1024),
    constraint paired_device_passkeys_sign_count_range check (sign_count between 0 and 4294967295)
);

comment on column identity.paired_device_passkeys.public_key is 'COSE_Key (RFC 9052), as the authenticator wrote it';
comment on column identity.paired_device_passkeys.sign_count is
    'the authenticator''s own count; one that goes back is a copy of the key';

revoke all on identity.paired_device_passkeys from public;
alter table identity.paired_device_passkeys enable row level security;
alter table identity.paired_device_passkeys force row level security;
-- It is there where its device is: in a transaction about one family, none of another.
create policy paired_device_passkeys_identity on identity.paired_device_passkeys to kinledger_identity
    using (
        exists (
            select 1
            from identity.paired_devices
            where paired_devices.device_id = paired_device_passkeys.device_id
        )
    )
    with check (
        exists (
            select 1
            from identity.paired_devices
            where paired_devices.device_id = paired_device_passkeys.device_id
        )
    );
grant select, insert, delete on identity.paired_device_passkeys to kinledger_identity;
grant update (sign_count, last_used_at) on identity.paired_device_passkeys to kinledger_identity;
