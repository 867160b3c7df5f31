-- What a person proves who they are by, besides the password: codes of an authenticator app, and recovery codes for the day the
-- app is gone. Seeds are sealed under a key that is not in the database; recovery codes and the tokens of sign-ins that wait for
-- their second factor are SHA-256 of random values.

create table identity.totp_factors (
    user_id uuid not null,
    sealed_seed bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    confirmed_at timestamptz,
    last_step bigint not null default 0,
    attempts integer not null default 0,
    attempts_on date not null default (clock_timestamp() at time zone 'UTC')::date,
    constraint totp_factors_pkey primary key (user_id),
    constraint totp_factors_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint totp_factors_sealed_seed_length check (octet_length(sealed_seed) between 40 and 200),
    constraint totp_factors_last_step_positive check (last_step >= 0),
    constraint totp_factors_attempts_positive check (attempts >= 0)
);

comment on column identity.totp_factors.sealed_seed is
    'AES-256-GCM: 12 bytes nonce, then the seed with tag; the user id is authenticated with it, the key is outside the database';
comment on column identity.totp_factors.confirmed_at is 'when the first right code came; before that it opens nothing';
comment on column identity.totp_factors.last_step is 'the time step of the last accepted code: only a later one is accepted';
comment on column identity.totp_factors.attempts is 'codes looked at on attempts_on (UTC) since the last right one';

create table identity.recovery_codes (
    code_hash bytea not null,
    user_id uuid not null,
    created_at timestamptz not null default clock_timestamp(),
    used_at timestamptz,
    constraint recovery_codes_pkey primary key (code_hash),
    constraint recovery_codes_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint recovery_codes_hash_length check (octet_length(code_hash) = 32)
);

create index recovery_codes_user_idx on identity.recovery_codes (user_id);

-- Sign-ins whose first factor was right and whose second has not come yet.
create table identity.pending_sign_ins (
    token_hash bytea not null,
    user_id uuid not null,
    proven_by text[] not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    constraint pending_sign_ins_pkey primary key (token_hash),
    constraint pending_sign_ins_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint pending_sign_ins_hash_length check (octet_length(token_hash) = 32),
    constraint pending_sign_ins_methods check (cardinality(proven_by) between 1 and 8)
);

create index pending_sign_ins_user_idx on identity.pending_sign_ins (user_id, created_at);
create index pending_sign_ins_expires_at_idx on identity.pending_sign_ins (expires_at);

do $$
declare
    name text;
begin
    foreach name in array array['totp_factors', 'recovery_codes', 'pending_sign_ins'] loop
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

grant update (sealed_seed, created_at, confirmed_at, last_step, attempts, attempts_on)
    on identity.totp_factors to kinledger_writer;
grant update (used_at) on identity.recovery_codes to kinledger_writer;
