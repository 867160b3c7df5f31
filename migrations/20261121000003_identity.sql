-- Who signs in, and how long for. Nothing here can be used if it leaks: passwords are argon2id with a pepper that is not in
-- the database, refresh tokens and invitation codes are SHA-256 of random values, private keys are sealed, addresses are
-- keyed hashes.
--
-- Only kinledger_writer reads these tables. Everybody else who verifies access tokens sees two views: the public keys, and
-- which sessions ended.

create schema if not exists identity;

create table identity.users (
    user_id uuid not null,
    email text not null,
    display_name text not null,
    password_hash text not null,
    created_at timestamptz not null default clock_timestamp(),
    password_changed_at timestamptz not null default clock_timestamp(),
    constraint users_pkey primary key (user_id),
    constraint users_email_unique unique (email),
    constraint users_email_form check (email = lower(email collate "C") and length(email) between 3 and 254),
    constraint users_display_name_length check (length(display_name) between 1 and 100),
    constraint users_password_hash_form check (password_hash like '$argon2id$%' and length(password_hash) <= 300)
);

comment on column identity.users.password_hash is 'PHC string; keyid names the pepper, which is outside the database';

-- One sign-in on one device: a family of refresh tokens, each replacing the one before.
create table identity.sessions (
    session_id uuid not null,
    user_id uuid not null,
    device text not null,
    address_hash bytea,
    created_at timestamptz not null default clock_timestamp(),
    last_used_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoke_reason text,
    constraint sessions_pkey primary key (session_id),
    constraint sessions_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint sessions_device_length check (length(device) <= 200),
    constraint sessions_address_hash_length check (octet_length(address_hash) = 32),
    constraint sessions_revoked_with_reason check ((revoked_at is null) = (revoke_reason is null))
);

create index sessions_user_idx on identity.sessions (user_id, last_used_at);
create index sessions_revoked_at_idx on identity.sessions (revoked_at) where revoked_at is not null;
create index sessions_expires_at_idx on identity.sessions (expires_at);

comment on column identity.sessions.expires_at is 'absolute end, however often the session is refreshed';

create table identity.refresh_tokens (
    token_hash bytea not null,
    session_id uuid not null,
    issued_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    used_at timestamptz,
    used_with bytea,
    constraint refresh_tokens_pkey primary key (token_hash),
    constraint refresh_tokens_session_fkey foreign key (session_id)
        references identity.sessions (session_id) on delete cascade,
    constraint refresh_tokens_hash_length check (octet_length(token_hash) = 32),
    constraint refresh_tokens_used_with_length check (octet_length(used_with) = 32)
);

create index refresh_tokens_session_idx on identity.refresh_tokens (session_id);

comment on column identity.refresh_tokens.expires_at is 'idle end: unused until then, the session cannot be refreshed';
comment on column identity.refresh_tokens.used_with is
    'SHA-256 of the request id that used it: the same request within ten seconds is answered alike, any other is reuse';

create table identity.signing_keys (
    kid text not null,
    public_key bytea not null,
    sealed_private_key bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    signs_from timestamptz not null,
    retires_at timestamptz,
    constraint signing_keys_pkey primary key (kid),
    constraint signing_keys_public_key_length check (octet_length(public_key) = 32)
);

comment on column identity.signing_keys.sealed_private_key is
    'AES-256-GCM: 12 bytes nonce, then PKCS#8 with tag; the kid is authenticated with it, the key is outside the database';
comment on column identity.signing_keys.signs_from is 'a new key is published before it signs';
comment on column identity.signing_keys.retires_at is 'from then on it verifies no more';

-- A place in a family, offered to whoever holds the code.
create table identity.invitations (
    code_hash bytea not null,
    family_id uuid not null,
    member_id uuid not null,
    created_by uuid not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    used_at timestamptz,
    used_by uuid,
    joined_at timestamptz,
    constraint invitations_pkey primary key (code_hash),
    constraint invitations_created_by_fkey foreign key (created_by) references identity.users (user_id) on delete cascade,
    constraint invitations_used_by_fkey foreign key (used_by) references identity.users (user_id) on delete cascade,
    constraint invitations_code_hash_length check (octet_length(code_hash) = 32),
    constraint invitations_used_by_someone check ((used_at is null) = (used_by is null)),
    constraint invitations_joined_after_use check (joined_at is null or used_at is not null)
);

create index invitations_member_idx on identity.invitations (family_id, member_id);

comment on column identity.invitations.used_at is 'when somebody took the code; the join in the log follows';
comment on column identity.invitations.joined_at is 'when the log had accepted the join';

create table identity.security_events (
    event_id bigint generated always as identity,
    kind text not null,
    user_id uuid,
    session_id uuid,
    address_hash bytea,
    occurred_at timestamptz not null default clock_timestamp(),
    constraint security_events_pkey primary key (event_id),
    constraint security_events_kind_length check (length(kind) between 1 and 60),
    constraint security_events_address_hash_length check (octet_length(address_hash) = 32)
);

create index security_events_user_idx on identity.security_events (user_id, event_id);

-- Rights: the writer's alone, and no more of them than the code uses.
do $$
declare
    name text;
begin
    foreach name in array array[
        'users', 'sessions', 'refresh_tokens', 'signing_keys', 'invitations', 'security_events'
    ] loop
        execute format('revoke all on identity.%I from public', name);
        execute format('alter table identity.%I enable row level security', name);
        execute format('alter table identity.%I force row level security', name);
        execute format(
            'create policy %I on identity.%I for all to kinledger_writer using (true) with check (true)',
            name || '_writer', name
        );
    end loop;
end
$$;

grant usage on schema identity to kinledger_writer, kinledger_projector, kinledger_reader;

grant select, insert on identity.users to kinledger_writer;
grant update (password_hash) on identity.users to kinledger_writer;
grant select, insert, delete on identity.sessions to kinledger_writer;
grant update (last_used_at, revoked_at, revoke_reason) on identity.sessions to kinledger_writer;
grant select, insert on identity.refresh_tokens to kinledger_writer;
grant update (used_at, used_with) on identity.refresh_tokens to kinledger_writer;
grant select, insert, delete on identity.signing_keys to kinledger_writer;
grant update (retires_at) on identity.signing_keys to kinledger_writer;
grant select, insert, delete on identity.invitations to kinledger_writer;
grant update (expires_at, used_at, used_by, joined_at) on identity.invitations to kinledger_writer;
grant select, insert on identity.security_events to kinledger_writer;

-- What a process without secrets needs to verify an access token. The views read the tables as their owner, who is a member
-- of kinledger_writer.
create view identity.public_keys with (security_barrier) as
select
    kid,
    public_key,
    signs_from
from identity.signing_keys
where retires_at is null or retires_at > clock_timestamp();

create view identity.revoked_sessions with (security_barrier) as
select
    session_id,
    revoked_at
from identity.sessions
where revoked_at is not null;

revoke all on identity.public_keys, identity.revoked_sessions from public;
grant select on identity.public_keys, identity.revoked_sessions
    to kinledger_writer, kinledger_projector, kinledger_reader;
