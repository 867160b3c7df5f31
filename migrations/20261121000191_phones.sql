-- Signing in by a code in a text message. A number is sealed for its owner and looked up by a keyed hash; codes are keyed hashes
-- too, since six digits alone could be tried out; both keys are outside the database.

create table identity.phones (
    user_id uuid not null,
    number_hash bytea not null,
    sealed_number bytea not null,
    verified_at timestamptz not null default clock_timestamp(),
    constraint phones_pkey primary key (user_id),
    constraint phones_number_unique unique (number_hash),
    constraint phones_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint phones_number_hash_length check (octet_length(number_hash) = 32),
    constraint phones_sealed_number_length check (octet_length(sealed_number) between 29 and 60)
);

comment on column identity.phones.sealed_number is
    'AES-256-GCM: 12 bytes nonce, then the number with tag; the user id is authenticated with it, the key is outside the database';

-- A row for each message that was asked for, sent or not: whoever counts learns nothing of whose number it is.
create table identity.phone_codes (
    challenge_hash bytea not null,
    code_hash bytea not null,
    number_hash bytea not null,
    asker_hash bytea not null,
    address_hash bytea,
    adds_to uuid,
    sealed_number bytea,
    attempts integer not null default 0,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    used_at timestamptz,
    constraint phone_codes_pkey primary key (challenge_hash),
    constraint phone_codes_adds_to_fkey foreign key (adds_to) references identity.users (user_id) on delete cascade,
    constraint phone_codes_hash_lengths check (
        octet_length(challenge_hash) = 32 and octet_length(code_hash) = 32 and octet_length(number_hash) = 32
        and octet_length(asker_hash) = 32 and octet_length(address_hash) = 32
    ),
    constraint phone_codes_sealed_number_length check (octet_length(sealed_number) between 29 and 60),
    constraint phone_codes_attempts_range check (attempts between 0 and 5),
    constraint phone_codes_adding_whole check ((adds_to is null) = (sealed_number is null))
);

create index phone_codes_asker_idx on identity.phone_codes (asker_hash, created_at);
create index phone_codes_address_idx on identity.phone_codes (address_hash, created_at);
create index phone_codes_created_at_idx on identity.phone_codes (created_at);
create index phone_codes_adds_to_idx on identity.phone_codes (adds_to, created_at) where adds_to is not null;

comment on column identity.phone_codes.asker_hash is 'the number together with who asks: a device of its owner, or anybody else';

do $$
declare
    name text;
begin
    foreach name in array array['phones', 'phone_codes'] loop
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

grant update (number_hash, sealed_number, verified_at) on identity.phones to kinledger_writer;
grant update (attempts, used_at) on identity.phone_codes to kinledger_writer;
