-- Devices people signed in on, and how often somebody's password was guessed at today.

-- A device holds a token of its own besides its sessions'; it opens nothing by itself.
create table identity.devices (
    device_id uuid not null,
    user_id uuid not null,
    token_hash bytea not null,
    name text not null,
    created_at timestamptz not null default clock_timestamp(),
    last_used_at timestamptz not null default clock_timestamp(),
    constraint devices_pkey primary key (device_id),
    constraint devices_token_unique unique (token_hash),
    constraint devices_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint devices_token_hash_length check (octet_length(token_hash) = 32),
    constraint devices_name_length check (length(name) between 1 and 200)
);

create index devices_user_idx on identity.devices (user_id, last_used_at);

alter table identity.sessions
    add column device_id uuid,
    add constraint sessions_device_fkey foreign key (device_id) references identity.devices (device_id) on delete set null;

create index sessions_device_idx on identity.sessions (device_id) where device_id is not null;

comment on column identity.sessions.device is 'what the device called itself, or what its owner calls it where it holds no token';

-- Guesses that were looked at, by day (UTC). The key is a keyed hash: whose password it was cannot be read from it, and addresses
-- without an account are counted like others.
create table identity.guesses (
    guessed_at bytea not null,
    day date not null,
    guesses integer not null,
    constraint guesses_pkey primary key (guessed_at, day),
    constraint guesses_key_length check (octet_length(guessed_at) = 32),
    constraint guesses_not_negative check (guesses >= 0)
);

create index guesses_day_idx on identity.guesses (day);

do $$
declare
    name text;
begin
    foreach name in array array['devices', 'guesses'] loop
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

grant update (name, last_used_at) on identity.devices to kinledger_writer;
grant update (guesses) on identity.guesses to kinledger_writer;
grant update (device) on identity.sessions to kinledger_writer;
