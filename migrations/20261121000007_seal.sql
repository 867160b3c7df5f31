-- The seal: a Merkle tree per lane, a map of where each family ended, signed checkpoints over both, and how far they have
-- been exported. docs/proofs.md says what is hashed, event-store/src/seal/mod.rs tells the protocol.
--
-- Advisory lock classes: 4713 seals a lane.

do $$
begin
    if not exists (select from pg_roles where rolname = 'kinledger_sealer') then
        begin
            create role kinledger_sealer nologin;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
    if not pg_has_role(current_user, 'kinledger_sealer', 'member') or not (select rolsuper from pg_roles where rolname = current_user) then
        begin
            grant kinledger_sealer to current_user;
        exception when unique_violation then
            null;
        end;
    end if;
end
$$;

-- The log's own name, random, so that checkpoints of two installations are never taken for each other's.
create table log.installation (
    only_one boolean not null default true,
    log_id uuid not null,
    constraint installation_pkey primary key (only_one),
    constraint installation_only_one check (only_one)
);

insert into log.installation (log_id) values (gen_random_uuid());

-- Public keys that have signed, in their order. A transition is a note by which a key names its successor; the first key, and
-- one that follows a lost key, has none.
create table log.sealing_keys (
    number integer not null,
    verifier_key text not null,
    transition text,
    made_at timestamptz not null default clock_timestamp(),
    constraint sealing_keys_pkey primary key (number),
    constraint sealing_keys_verifier_key_key unique (verifier_key),
    constraint sealing_keys_number_positive check (number > 0)
);

-- Hashes of perfect subtrees of 2^height leaves, from index first_index of that height on, 32 bytes each. A row holds what one
-- checkpoint added; a subtree that is not yet full is not here.
create table log.tree_nodes (
    lane smallint not null,
    height smallint not null,
    first_index bigint not null,
    hashes bytea not null,
    constraint tree_nodes_pkey primary key (lane, height, first_index),
    constraint tree_nodes_lane_fkey foreign key (lane) references log.lanes (lane),
    constraint tree_nodes_hashes_whole check (octet_length(hashes) > 0 and octet_length(hashes) % 32 = 0)
);

-- Hashes do not compress; stored so, a single one is read out of a long row without the rest.
alter table log.tree_nodes alter column hashes set storage external;

create table log.checkpoints (
    lane smallint not null,
    size bigint not null,
    root bytea not null,
    note text not null,
    sealed_at timestamptz not null default clock_timestamp(),
    constraint checkpoints_pkey primary key (lane, size),
    constraint checkpoints_lane_fkey foreign key (lane) references log.lanes (lane),
    constraint checkpoints_size_positive check (size > 0),
    constraint checkpoints_root_length check (octet_length(root) = 32)
);

-- Where each family of a lane ended at the lane's last checkpoint, as hashes. Derived from the log; the one thing here that
-- changes.
create table log.head_buckets (
    lane smallint not null,
    bucket smallint not null,
    summary bytea not null,
    entries bytea not null,
    constraint head_buckets_pkey primary key (lane, bucket),
    constraint head_buckets_lane_fkey foreign key (lane) references log.lanes (lane),
    constraint head_buckets_entries_whole check (octet_length(entries) % 64 = 0)
);

alter table log.head_buckets alter column entries set storage external;

comment on column log.head_buckets.entries is 'key and leaf of each family, 64 bytes, by key';

-- How far each place outside has been given the checkpoints.
create table log.checkpoint_exports (
    destination text not null,
    lane smallint not null,
    size bigint not null,
    exported_at timestamptz not null default clock_timestamp(),
    constraint checkpoint_exports_pkey primary key (destination, lane),
    constraint checkpoint_exports_lane_fkey foreign key (lane) references log.lanes (lane)
);

select log.make_append_only(target)
from unnest(array['log.installation', 'log.sealing_keys', 'log.tree_nodes', 'log.checkpoints']::regclass[]) target;

grant usage on schema log to kinledger_sealer;
grant select on log.lanes, log.events, log.installation to kinledger_sealer;
grant select, insert on log.sealing_keys, log.tree_nodes, log.checkpoints to kinledger_sealer;
grant select, insert, update on log.head_buckets, log.checkpoint_exports to kinledger_sealer;
create policy events_sealer on log.events for select to kinledger_sealer using (true);

-- The auditor's routes show proofs.
grant select on log.installation, log.sealing_keys, log.tree_nodes, log.checkpoints, log.head_buckets to kinledger_writer;
