-- The log: append-only, one ordered feed and one partition per lane.
--
-- All appends go through log.append_batch. It takes the lane's advisory lock in one statement and reads the lane's last
-- position in the NEXT one: a volatile function gets a new snapshot per statement, so it sees what the last holder committed.
-- The lock is released only after the commit is visible, so a visible position means everything below it is final.

create table log.lanes (
    lane smallint primary key
);
insert into log.lanes (lane) select generate_series(0, 7)::smallint;

create table log.families (
    family_id uuid primary key,
    lane smallint not null references log.lanes (lane),
    created_at timestamptz not null
);

-- The first seven columns of an event are those of postgres-es, by name and type, so that its repository can read our log.
create table log.events (
    aggregate_type text not null,
    aggregate_id text not null,
    sequence bigint not null constraint events_sequence_check check (sequence > 0),
    event_type text not null,
    event_version text not null,
    payload json not null,
    metadata json not null,
    lane smallint not null,
    position bigint not null constraint events_position_check check (position > 0),
    family_id uuid not null,
    family_seq bigint not null constraint events_family_seq_check check (family_seq > 0),
    command_id uuid not null,
    effective_on date not null,
    recorded_at timestamptz not null,
    leaf_hash bytea not null,
    chain_hash bytea not null,
    constraint events_pkey primary key (lane, position),
    -- The lane comes last, so that postgres-es' lane-less queries still seek.
    constraint events_stream_key unique (aggregate_type, aggregate_id, sequence, lane),
    constraint events_family_key unique (family_id, family_seq, lane)
) partition by list (lane);

do $$
begin
    for lane in 0..7 loop
        execute format('create table log.events_lane_%s partition of log.events for values in (%s)', lane, lane);
        execute format(
            'alter table log.events_lane_%s set (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 10000, '
            'autovacuum_analyze_scale_factor = 0.02)', lane);
    end loop;
end
$$;

-- What became of each accepted command, for idempotency.
create table log.commands (
    lane smallint not null,
    family_id uuid not null,
    command_id uuid not null,
    request_hash bytea not null,
    first_family_seq bigint not null,
    last_family_seq bigint not null,
    last_position bigint not null,
    recorded_at timestamptz not null,
    constraint commands_pkey primary key (family_id, command_id)
);

-- Values that must be unique in their scope, as keyed hashes.
create table log.claims (
    scope text not null,
    value_hash bytea not null,
    family_id uuid not null,
    command_id uuid not null,
    constraint claims_pkey primary key (scope, value_hash)
);

-- How far the relay has published; the last record in Kafka is the truth, this is for operators and fencing.
create table log.relay_checkpoints (
    lane smallint primary key references log.lanes (lane),
    epoch bigint not null,
    position bigint not null,
    chain_hash bytea not null,
    updated_at timestamptz not null default clock_timestamp()
);

-- Hashes: the same bytes as event-store/src/chain.rs; tests/vectors/chain.json holds both to it.

create function log.length_prefixed(field bytea) returns bytea
language sql immutable strict parallel safe
as $$ select int4send(length(field)) || field $$;

create function log.leaf_hash(
    p_family_id uuid, p_aggregate_type text, p_aggregate_id text, p_sequence bigint, p_event_type text, p_event_version text,
    p_command_id uuid, p_effective_on date, p_payload text, p_metadata text
) returns bytea
language sql immutable strict parallel safe
as $$
    select sha256('\x00'::bytea
        || log.length_prefixed(uuid_send(p_family_id))
        || log.length_prefixed(convert_to(p_aggregate_type, 'UTF8'))
        || log.length_prefixed(convert_to(p_aggregate_id, 'UTF8'))
        || log.length_prefixed(int8send(p_sequence))
        || log.length_prefixed(convert_to(p_event_type, 'UTF8'))
        || log.length_prefixed(convert_to(p_event_version, 'UTF8'))
        || log.length_prefixed(uuid_send(p_command_id))
        || log.length_prefixed(convert_to(to_char(p_effective_on, 'YYYY-MM-DD'), 'UTF8'))
        || log.length_prefixed(convert_to(p_payload, 'UTF8'))
        || log.length_prefixed(convert_to(p_metadata, 'UTF8')))
$$;

create function log.chain_hash(p_previous bytea, p_family_seq bigint, p_recorded_at timestamptz, p_leaf bytea) returns bytea
language sql immutable strict parallel safe
as $$
    select sha256('\x02'::bytea || p_previous || int8send(p_family_seq)
        || int8send((extract(epoch from p_recorded_at) * 1000000)::bigint) || p_leaf)
$$;

-- Appends a batch of commands of one lane. Commands of one family must stand together; `p_expected` is the family head each was
-- decided on. Once one command of a family is not 'ok', the later ones of that family are 'conflict': they were decided on a
-- state that did not happen. Other families are not touched by it.
create function log.append_batch(
    p_lane smallint,
    p_family uuid[], p_command uuid[], p_hash bytea[], p_expected bigint[], p_creates boolean[], p_metadata text[],
    e_command int[], e_aggregate_type text[], e_aggregate_id text[], e_sequence bigint[], e_event_type text[], e_event_version text[],
    e_payload text[], e_effective_on date[], e_leaf bytea[],
    c_command int[], c_scope text[], c_hash bytea[]
) returns table (
    verdict text, first_seq bigint, last_seq bigint, end_position bigint,
    head_chain bytea, stored_request bytea, stored_at timestamptz, taken_scope text
)
language plpgsql volatile
-- One plan for all calls: planning anew, over all partitions, costs more than the rows of a small batch.
set plan_cache_mode = force_generic_plan
as $$
declare
    -- Copies: plpgsql keeps its own arrays expanded, so that reading an element does not walk the array.
    v_family uuid[] := p_family;
    v_command uuid[] := p_command;
    v_metadata text[] := p_metadata;
    v_owner int[] := e_command;
    v_expected bigint[] := p_expected;
    v_leaf bytea[] := e_leaf;
    v_heads bigint[];
    v_chains bytea[];
    v_duplicates int[];
    v_known log.commands;
    v_position bigint;
    v_at timestamptz;
    v_us bytea;
    v_next int := 1;
    v_events int := coalesce(array_length(e_command, 1), 0);
    v_has_claims boolean := array_length(c_command, 1) is not null;
    v_current uuid;
    v_failed boolean := false;
    v_seq bigint;
    v_chain bytea;
    v_scope text;
    i int;
    -- One element an event, in step with e_command; nulls where the event does not happen.
    o_position bigint[] := '{}';
    o_seq bigint[] := '{}';
    o_chain bytea[] := '{}';
    o_family uuid[] := '{}';
    o_command uuid[] := '{}';
    o_metadata text[] := '{}';
    -- One element a command; nulls where it does not happen.
    k_first bigint[] := '{}';
    k_last bigint[] := '{}';
    k_position bigint[] := '{}';
begin
    perform pg_advisory_xact_lock(4711, p_lane);

    -- The lane's head, the families' heads (each once, where its commands begin), and which commands are known.
    with lane_head as materialized (
        select e.position, e.recorded_at from log.events e where e.lane = p_lane order by e.position desc limit 1
    )
    select
        coalesce((select l.position from lane_head l), 0),
        greatest(clock_timestamp(), (select l.recorded_at from lane_head l)),
        array_agg(coalesce(h.family_seq, 0) order by c.n),
        array_agg(coalesce(h.chain_hash, '\x0000000000000000000000000000000000000000000000000000000000000000') order by c.n),
        array_agg(c.n::int) filter (where k.command_id is not null)
    into v_position, v_at, v_heads, v_chains, v_duplicates
    from unnest(p_family, p_command) with ordinality c (family_id, command_id, n)
    left join lateral (
        select e.family_seq, e.chain_hash from log.events e
        where e.lane = p_lane and e.family_id = c.family_id and p_family[c.n - 1] is distinct from c.family_id
        order by e.family_seq desc limit 1
    ) h on true
    left join lateral (
        select a.command_id from log.commands a where a.family_id = c.family_id and a.command_id = c.command_id limit 1
    ) k on true;
    v_us := int8send((extract(epoch from v_at) * 1000000)::bigint);

    for i in 1 .. coalesce(array_length(v_family, 1), 0) loop
        if v_current is distinct from v_family[i] then
            v_current := v_family[i];
            v_failed := false;
            v_seq := v_heads[i];
            v_chain := v_chains[i];
        end if;
        verdict := 'ok';
        if v_failed then
            verdict := 'conflict';
        elsif v_duplicates is not null and i = any (v_duplicates) then
            verdict := 'duplicate';
        elsif v_seq <> v_expected[i] then
            verdict := 'conflict';
        elsif p_creates[i] then
            if exists (select from log.families f where f.family_id = v_current) then
                verdict := 'conflict';
            end if;
        end if;
        if v_has_claims and verdict = 'ok' then
            select c.scope into v_scope
            from unnest(c_command, c_scope, c_hash) c (command, scope, value_hash)
            join log.claims k on k.scope = c.scope and k.value_hash = c.value_hash
            where c.command = i limit 1;
            if found then
                verdict := 'claim_taken';
            end if;
        end if;

        if verdict = 'ok' then
            if p_creates[i] then
                insert into log.families (family_id, lane, created_at) values (v_current, p_lane, v_at);
            end if;
            if v_has_claims then
                insert into log.claims (scope, value_hash, family_id, command_id)
                select c.scope, c.value_hash, v_current, v_command[i]
                from unnest(c_command, c_scope, c_hash) c (command, scope, value_hash)
                where c.command = i
                order by c.scope, c.value_hash;
            end if;
            first_seq := v_seq + 1;
            while v_next <= v_events and v_owner[v_next] = i loop
                v_seq := v_seq + 1;
                v_position := v_position + 1;
                v_chain := sha256('\x02'::bytea || v_chain || int8send(v_seq) || v_us || v_leaf[v_next]);
                o_position := array_append(o_position, v_position);
                o_seq := array_append(o_seq, v_seq);
                o_chain := array_append(o_chain, v_chain);
                o_family := array_append(o_family, v_current);
                o_command := array_append(o_command, v_command[i]);
                o_metadata := array_append(o_metadata, v_metadata[i]);
                v_next := v_next + 1;
            end loop;
            k_first := array_append(k_first, first_seq);
            k_last := array_append(k_last, v_seq);
            k_position := array_append(k_position, v_position);
            last_seq := v_seq;
            end_position := v_position;
            head_chain := v_chain;
            stored_request := null; stored_at := v_at; taken_scope := null;
        else
            v_failed := true;
            first_seq := null; last_seq := null; end_position := null;
            head_chain := null; stored_request := null; stored_at := v_at; taken_scope := null;
            if verdict = 'duplicate' then
                select k.* into v_known from log.commands k where k.family_id = v_current and k.command_id = v_command[i];
                first_seq := v_known.first_family_seq;
                last_seq := v_known.last_family_seq;
                end_position := v_known.last_position;
                stored_request := v_known.request_hash;
                stored_at := v_known.recorded_at;
            elsif verdict = 'claim_taken' then
                taken_scope := v_scope;
            end if;
            k_first := array_append(k_first, null);
            k_last := array_append(k_last, null);
            k_position := array_append(k_position, null);
            while v_next <= v_events and v_owner[v_next] = i loop
                o_position := array_append(o_position, null);
                o_seq := array_append(o_seq, null);
                o_chain := array_append(o_chain, null);
                o_family := array_append(o_family, null);
                o_command := array_append(o_command, null);
                o_metadata := array_append(o_metadata, null);
                v_next := v_next + 1;
            end loop;
        end if;
        return next;
    end loop;

    insert into log.events (
        aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
        lane, position, family_id, family_seq, command_id, effective_on, recorded_at, leaf_hash, chain_hash
    )
    select e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, e.payload::json, e.metadata::json,
        p_lane, e.position, e.family_id, e.seq, e.command_id, e.effective_on, v_at, e.leaf, e.chain
    from unnest(
        e_aggregate_type, e_aggregate_id, e_sequence, e_event_type, e_event_version, e_payload, e_effective_on, e_leaf,
        o_position, o_seq, o_chain, o_family, o_command, o_metadata
    ) e (
        aggregate_type, aggregate_id, sequence, event_type, event_version, payload, effective_on, leaf,
        position, seq, chain, family_id, command_id, metadata
    )
    where e.position is not null;

    insert into log.commands (
        lane, family_id, command_id, request_hash, first_family_seq, last_family_seq, last_position, recorded_at
    )
    select p_lane, c.family_id, c.command_id, c.request_hash, c.first, c.last, c.position, v_at
    from unnest(p_family, p_command, p_hash, k_first, k_last, k_position) c (family_id, command_id, request_hash, first, last, position)
    where c.position is not null;
end
$$;

-- Append-only, by trigger too: a grant given by mistake does not open the log.
create function log.refuse_change() returns trigger
language plpgsql
as $$
begin
    raise exception 'log.% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end
$$;

do $$
declare
    name text;
begin
    foreach name in array array['events', 'families', 'commands', 'claims'] loop
        execute format(
            'create trigger %I before update or delete on log.%I for each row execute function log.refuse_change()',
            name || '_append_only', name);
        execute format(
            'create trigger %I before truncate on log.%I for each statement execute function log.refuse_change()',
            name || '_no_truncate', name);
    end loop;
    for lane in 0..7 loop
        execute format(
            'create trigger events_no_truncate before truncate on log.events_lane_%s for each statement execute function log.refuse_change()', lane);
    end loop;
end
$$;

revoke all on all functions in schema log from public;
grant execute on all functions in schema log to kinledger_writer, kinledger_projector, kinledger_relay;
grant select, insert on log.events, log.families, log.commands, log.claims to kinledger_writer;
grant select on log.lanes to kinledger_writer, kinledger_projector, kinledger_relay;
grant select on log.events, log.families to kinledger_projector, kinledger_relay;
grant select, insert, update on log.relay_checkpoints to kinledger_relay;

-- Row-level security, the second wall. Writer, projector and relay work across families by nature; nobody else sees a row.
do $$
declare
    name text;
begin
    foreach name in array array['events', 'families', 'commands', 'claims'] loop
        execute format('alter table log.%I enable row level security', name);
        execute format('alter table log.%I force row level security', name);
        execute format('create policy %I on log.%I to kinledger_writer using (true) with check (true)', name || '_writer', name);
        execute format('create policy %I on log.%I for select to kinledger_projector, kinledger_relay using (true)', name || '_feed', name);
    end loop;
end
$$;
