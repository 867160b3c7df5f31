-- Lane leases: which process of a group of projectors works on which lane, so that none is worked on twice and none by nobody.
--
-- A lease only saves work. What makes the effect exactly-once is the compare-and-set of the checkpoint: a process that goes on
-- without its lease finds the checkpoint moved and writes nothing. Not in the schema `views`: a rebuild of the rows must not
-- touch who works. projectors/src/leases.rs tells the protocol.
--
-- Advisory lock classes: 4714 is held for the moment in which a group's leases change.

create schema leases;
revoke all on schema leases from public;
grant usage on schema leases to kinledger_projector;

create table leases.processes (
    group_name text not null,
    version integer not null,
    process uuid not null,
    backend integer not null,
    until_at timestamptz not null,
    constraint processes_pkey primary key (group_name, version, process)
);
comment on column leases.processes.backend is 'the server process of its connection: when that is gone, so is the process';
comment on column leases.processes.until_at is 'when it counts as stalled, by the clock of the database, unless it is heard of before';

create table leases.lanes (
    group_name text not null,
    version integer not null,
    lane smallint not null,
    process uuid not null,
    constraint lanes_pkey primary key (group_name, version, lane),
    constraint lanes_process_fkey foreign key (group_name, version, process)
        references leases.processes (group_name, version, process) on delete cascade
);

-- One beat of one process: it is alive for `p_ttl` from now, gives back `p_released`, takes what is free up to its share, and
-- learns what it holds. A lane that is not kept is more than its share, for others have come: it stops there and releases it.
--
-- Shares differ by one at most: of k processes over n lanes each has n / k, and the first n % k one more.
create function leases.beat(
    p_group text, p_version integer, p_process uuid, p_lanes smallint[], p_released smallint[], p_ttl interval
) returns table (lane smallint, is_kept boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz;
    v_processes integer;
    v_before integer;
    v_share integer;
begin
    perform pg_advisory_xact_lock(4714, hashtext(p_group || '/' || p_version));
    -- Read under the lock: a process that waited for it long is not taken for one that stalled.
    v_now := clock_timestamp();
    insert into leases.processes as p (group_name, version, process, backend, until_at)
    values (p_group, p_version, p_process, pg_backend_pid(), v_now + p_ttl)
    on conflict (group_name, version, process) do update
    set backend = excluded.backend,
        until_at = excluded.until_at;
    delete from leases.processes p
    where p.group_name = p_group
        and p.version = p_version
        and p.process <> p_process
        and (p.until_at <= v_now or not exists (select from pg_stat_activity a where a.pid = p.backend));
    delete from leases.lanes l
    where l.group_name = p_group
        and l.version = p_version
        and l.process = p_process
        and (l.lane = any (p_released) or l.lane <> all (p_lanes));
    select count(*), count(*) filter (where p.process < p_process)
    into v_processes, v_before
    from leases.processes p
    where p.group_name = p_group
        and p.version = p_version;
    v_share := cardinality(p_lanes) / v_processes + (v_before < cardinality(p_lanes) % v_processes)::integer;
    insert into leases.lanes (group_name, version, lane, process)
    select p_group, p_version, wanted.lane, p_process
    from unnest(p_lanes) wanted (lane)
    where not exists (
        select from leases.lanes l where l.group_name = p_group and l.version = p_version and l.lane = wanted.lane
    )
    order by wanted.lane
    limit greatest(0, v_share - (
        select count(*) from leases.lanes l
        where l.group_name = p_group and l.version = p_version and l.process = p_process
    ));
    return query
        select l.lane, row_number() over (order by l.lane) <= v_share
        from leases.lanes l
        where l.group_name = p_group
            and l.version = p_version
            and l.process = p_process
        order by l.lane;
end
$$;

revoke all on all functions in schema leases from public;
grant select, insert, update, delete on leases.processes, leases.lanes to kinledger_projector;
grant execute on function leases.beat(text, integer, uuid, smallint[], smallint[], interval) to kinledger_projector;

-- The chain hash of the record at the checkpoint. A log that has another one there, or ends before it, is not the log that was
-- folded: it was restored to an earlier moment, and the rows hold what it has lost.
alter table views.checkpoints add column chain_hash bytea;
alter table views.checkpoints add constraint checkpoints_hash_length check (octet_length(chain_hash) = 32);
