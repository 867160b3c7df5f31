-- The event log: append only, one ordered feed and one partition per lane.
--
-- A family lives in one lane for ever. Whoever appends holds the lane's advisory lock until the commit is visible, so a
-- visible position means that every position below it in that lane is final; readers ask for `position > n` and need nothing
-- else. event-store/src/append.rs tells the protocol, event-store/src/chain.rs what is hashed.
--
-- Advisory lock classes: 4711 appends to a lane, 4712 relays a lane.

create table log.lanes (
    lane smallint not null,
    constraint lanes_pkey primary key (lane),
    constraint lanes_lane_range check (lane between 0 and 1023)
);

comment on table log.lanes is 'the lanes there are, numbered from 0 without gaps; never fewer than before';

create table log.families (
    family_id uuid not null,
    lane smallint not null,
    created_at timestamptz not null,
    constraint families_pkey primary key (family_id),
    constraint families_lane_fkey foreign key (lane) references log.lanes (lane)
);

comment on table log.families is 'which lane a family lives in; chosen when it was created, never changed';

-- The first seven columns are those of postgres-es, by name and type, so that its repository can read our log. `lane` comes
-- last in the unique keys so that its questions, which know no lane, still find an index. `json` and not `jsonb`: the bytes
-- that were hashed have to stay as they were.
create table log.events (
    aggregate_type text not null,
    aggregate_id text not null,
    sequence bigint not null,
    event_type text not null,
    event_version text not null,
    payload json not null,
    metadata json not null,
    lane smallint not null,
    position bigint not null,
    family_id uuid not null,
    family_seq bigint not null,
    command_id uuid not null,
    effective_on date not null,
    recorded_at timestamptz not null,
    leaf_hash bytea not null,
    chain_hash bytea not null,
    constraint events_pkey primary key (lane, position),
    constraint events_stream_key unique (aggregate_type, aggregate_id, sequence, lane),
    constraint events_family_key unique (family_id, family_seq, lane),
    constraint events_numbers_positive check (position > 0 and family_seq > 0 and sequence > 0),
    constraint events_hash_lengths check (octet_length(leaf_hash) = 32 and octet_length(chain_hash) = 32)
) partition by list (lane);

comment on column log.events.position is 'place in the lane: the feed; contiguous from 1';
comment on column log.events.family_seq is 'place in the family: the ledger that people see; contiguous from 1';
comment on column log.events.sequence is 'place in the aggregate''s own stream; contiguous from 1';
comment on column log.events.effective_on is 'the day it counts for, in the family''s calendar; given by the command';
comment on column log.events.recorded_at is 'when the database took it, under the lane lock; never before its predecessor in the lane';

-- What became of each accepted command: what a repeat of it gets as its answer. Kept as long as the events.
create table log.commands (
    lane smallint not null,
    family_id uuid not null,
    command_id uuid not null,
    request_hash bytea not null,
    first_family_seq bigint not null,
    last_family_seq bigint not null,
    last_position bigint not null,
    recorded_at timestamptz not null,
    constraint commands_pkey primary key (lane, family_id, command_id),
    constraint commands_request_hash_length check (octet_length(request_hash) = 32),
    constraint commands_range check (first_family_seq > 0 and last_family_seq >= first_family_seq - 1)
);

comment on column log.commands.last_family_seq is 'first_family_seq - 1 when the command was accepted without an event';
comment on column log.commands.last_position is 'the lane''s head right after the command';

-- Values that may be held once. Only their keyed hash is kept, so that erasing a person leaves nothing readable here.
create table log.claims (
    scope text not null,
    value_hash bytea not null,
    family_id uuid not null,
    command_id uuid not null,
    constraint claims_pkey primary key (scope, value_hash),
    constraint claims_hash_length check (octet_length(value_hash) = 32)
);

-- How far each lane has been handed to Kafka. The truth is the last record of the Kafka partition; this row fences off a
-- relay that lost its lane (epoch) and tells operators how far behind it is.
create table log.relay_checkpoints (
    lane smallint not null,
    epoch bigint not null,
    position bigint not null,
    chain_hash bytea not null,
    updated_at timestamptz not null default clock_timestamp(),
    constraint relay_checkpoints_pkey primary key (lane),
    constraint relay_checkpoints_lane_fkey foreign key (lane) references log.lanes (lane)
);

-- Hashes: the same bytes as event-store/src/chain.rs; event-store/tests/vectors/chain.json holds both to it.

create function log.length_prefixed(field bytea) returns bytea
language sql immutable strict parallel safe
as $$ select int4send(octet_length(field)) || field $$;

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

-- Appends a batch of commands of one lane and gives a verdict on each, in order: ok, duplicate, conflict or claim_taken.
--
-- Commands of one family stand together; events and claims name their command by its index and stand in the same order.
-- `p_expected` is the family head a command was decided on, `p_same_as` the index of the same command earlier in the batch.
-- Once a command of a family is not ok, the family's later ones are conflicts (or duplicates): they were decided on a state
-- that did not happen. Nothing of a command that is not ok is written, and other families never notice.
create function log.append_batch(
    p_lane smallint,
    p_family uuid[], p_command uuid[], p_same_as int[], p_hash bytea[], p_expected bigint[], p_creates boolean[], p_metadata text[],
    e_command int[], e_aggregate_type text[], e_aggregate_id text[], e_sequence bigint[], e_event_type text[], e_event_version text[],
    e_payload text[], e_effective_on date[], e_leaf bytea[],
    c_command int[], c_scope text[], c_hash bytea[]
) returns table (
    verdict text, first_seq bigint, last_seq bigint, end_position bigint,
    head_chain bytea, stored_request bytea, stored_at timestamptz, taken_scope text
)
language plpgsql volatile
-- One plan for all calls: planning anew, over all partitions, costs more than the rows of a small batch. And one that looks
-- into indexes: a plan made while the tables were still empty must not scan them once they are full. The limits below do the
-- same for joins; without them one of these look-ups was planned as a join over a whole index.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    n_commands constant int := cardinality(p_family);
    n_events constant int := cardinality(e_command);
    n_claims constant int := cardinality(c_command);
    v_position bigint;
    v_at timestamptz;
    v_us bytea;
    v_heads bigint[];
    v_chains bytea[];
    v_lanes smallint[];
    v_known int[];
    v_held_claims int[];
    v_stored log.commands;
    v_event int := 1;
    v_claim int := 1;
    v_claim_from int;
    v_same int;
    v_family uuid;
    v_lane smallint;
    v_has_failed boolean;
    v_seq bigint;
    v_chain bytea;
    v_created uuid[] := '{}';
    v_created_rows int;
    -- Claims of this batch so far.
    v_claimed bytea[] := '{}';
    v_claimed_by int[] := '{}';
    -- One element an event; no position where the event does not happen.
    o_position bigint[] := array_fill(null::bigint, array[n_events]);
    o_seq bigint[] := array_fill(null::bigint, array[n_events]);
    o_chain bytea[] := array_fill(null::bytea, array[n_events]);
    -- One element a command; no position where it does not happen.
    k_verdict text[] := array_fill(null::text, array[n_commands]);
    k_first bigint[] := array_fill(null::bigint, array[n_commands]);
    k_last bigint[] := array_fill(null::bigint, array[n_commands]);
    k_position bigint[] := array_fill(null::bigint, array[n_commands]);
begin
    -- Each statement has to see what the last holder of the lock committed. With one snapshot for the whole transaction it
    -- would not, and positions would be given twice.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'log.append_batch needs read committed' using errcode = 'invalid_transaction_state';
    end if;

    perform pg_advisory_xact_lock(4711, p_lane);

    -- A statement of its own, whose snapshot is taken after the lock: the lane's head, the families' lanes and heads (each
    -- once, where its commands begin), and which commands are known.
    with lane_head as materialized (
        select e.position, e.recorded_at from log.events e where e.lane = p_lane order by e.position desc limit 1
    )
    select
        coalesce((select l.position from lane_head l), 0),
        greatest(clock_timestamp(), (select l.recorded_at from lane_head l)),
        array_agg(coalesce(h.family_seq, 0) order by c.n),
        array_agg(coalesce(h.chain_hash, '\x0000000000000000000000000000000000000000000000000000000000000000') order by c.n),
        array_agg(f.lane order by c.n),
        array_agg(c.n::int) filter (where k.command_id is not null)
    into v_position, v_at, v_heads, v_chains, v_lanes, v_known
    from unnest(p_family, p_command) with ordinality c (family_id, command_id, n)
    left join lateral (
        select e.family_seq, e.chain_hash from log.events e
        where e.lane = p_lane and e.family_id = c.family_id and p_family[c.n - 1] is distinct from c.family_id
        order by e.family_seq desc limit 1
    ) h on true
    left join lateral (
        select a.lane from log.families a
        where a.family_id = c.family_id and p_family[c.n - 1] is distinct from c.family_id limit 1
    ) f on true
    left join lateral (
        select a.command_id from log.commands a
        where a.lane = p_lane and a.family_id = c.family_id and a.command_id = c.command_id limit 1
    ) k on true;
    v_us := int8send((extract(epoch from v_at) * 1000000)::bigint);

    if n_claims > 0 then
        select array_agg(c.n::int)
        into v_held_claims
        from unnest(c_scope, c_hash) with ordinality c (scope, value_hash, n)
        cross join lateral (
            select from log.claims k where k.scope = c.scope and k.value_hash = c.value_hash limit 1
        ) k;
    end if;

    for i in 1 .. n_commands loop
        if v_family is distinct from p_family[i] then
            v_family := p_family[i];
            v_lane := v_lanes[i];
            v_seq := v_heads[i];
            v_chain := v_chains[i];
            v_has_failed := false;
        end if;
        first_seq := null; last_seq := null; end_position := null; head_chain := null;
        stored_request := null; stored_at := null; taken_scope := null;

        v_claim_from := v_claim;
        while v_claim <= n_claims and c_command[v_claim] = i loop
            if taken_scope is null and (v_claim = any (v_held_claims) or c_hash[v_claim] = any (v_claimed)) then
                taken_scope := c_scope[v_claim];
            end if;
            v_claim := v_claim + 1;
        end loop;

        v_same := p_same_as[i];
        if i = any (v_known) or (v_same > 0 and k_verdict[v_same] = 'ok') then
            verdict := 'duplicate';
        elsif v_has_failed or v_same > 0 or v_seq <> p_expected[i] then
            verdict := 'conflict';
        elsif (case when p_creates[i] then v_lane is not null else v_lane is distinct from p_lane end) then
            verdict := 'conflict';
        elsif taken_scope is not null then
            verdict := 'claim_taken';
        else
            verdict := 'ok';
        end if;
        k_verdict[i] := verdict;

        if verdict = 'ok' then
            if p_creates[i] then
                v_lane := p_lane;
                v_created := v_created || v_family;
            end if;
            while v_claim_from < v_claim loop
                v_claimed := v_claimed || c_hash[v_claim_from];
                v_claimed_by := v_claimed_by || v_claim_from;
                v_claim_from := v_claim_from + 1;
            end loop;
            first_seq := v_seq + 1;
            while v_event <= n_events and e_command[v_event] = i loop
                v_seq := v_seq + 1;
                v_position := v_position + 1;
                v_chain := sha256('\x02'::bytea || v_chain || int8send(v_seq) || v_us || e_leaf[v_event]);
                o_position[v_event] := v_position;
                o_seq[v_event] := v_seq;
                o_chain[v_event] := v_chain;
                v_event := v_event + 1;
            end loop;
            last_seq := v_seq;
            end_position := v_position;
            head_chain := v_chain;
            stored_at := v_at;
            k_first[i] := first_seq;
            k_last[i] := last_seq;
            k_position[i] := end_position;
        else
            v_has_failed := true;
            while v_event <= n_events and e_command[v_event] = i loop
                v_event := v_event + 1;
            end loop;
            if verdict = 'duplicate' and i = any (v_known) then
                select k.* into strict v_stored from log.commands k
                where k.lane = p_lane and k.family_id = v_family and k.command_id = p_command[i];
                first_seq := v_stored.first_family_seq;
                last_seq := v_stored.last_family_seq;
                end_position := v_stored.last_position;
                stored_request := v_stored.request_hash;
                stored_at := v_stored.recorded_at;
            elsif verdict = 'duplicate' then
                first_seq := k_first[v_same];
                last_seq := k_last[v_same];
                end_position := k_position[v_same];
                stored_request := p_hash[v_same];
                stored_at := v_at;
            end if;
        end if;
        return next;
    end loop;

    if v_event <= n_events or v_claim <= n_claims then
        raise exception 'events or claims are not in the order of their commands' using errcode = 'invalid_parameter_value';
    end if;

    if cardinality(v_created) > 0 then
        -- In order of id, so that two lanes that create the same families do not wait for each other in a circle.
        insert into log.families (family_id, lane, created_at)
        select c.family_id, p_lane, v_at from unnest(v_created) c (family_id) order by c.family_id
        on conflict do nothing;
        get diagnostics v_created_rows = row_count;
        if v_created_rows <> cardinality(v_created) then
            raise exception 'another lane created the same family' using errcode = 'serialization_failure';
        end if;
    end if;

    if cardinality(v_claimed) > 0 then
        insert into log.claims (scope, value_hash, family_id, command_id)
        select c_scope[c.n], c_hash[c.n], p_family[c_command[c.n]], p_command[c_command[c.n]]
        from unnest(v_claimed_by) c (n)
        order by 1, 2;
    end if;

    insert into log.events (
        aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
        lane, position, family_id, family_seq, command_id, effective_on, recorded_at, leaf_hash, chain_hash
    )
    select e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, e.payload::json, p_metadata[e.command]::json,
        p_lane, e.position, p_family[e.command], e.seq, p_command[e.command], e.effective_on, v_at, e.leaf, e.chain
    from unnest(
        e_command, e_aggregate_type, e_aggregate_id, e_sequence, e_event_type, e_event_version, e_payload, e_effective_on, e_leaf,
        o_position, o_seq, o_chain
    ) e (
        command, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, effective_on, leaf,
        position, seq, chain
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

-- Append-only, by trigger too: a grant given by mistake does not open the log. The triggers fire for the statement, on the
-- parent and on every partition, so that a change which finds no row is refused as well.
create function log.refuse_change() returns trigger
language plpgsql
as $$
begin
    raise exception 'log.% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end
$$;

create function log.make_append_only(target regclass) returns void
language plpgsql
as $$
begin
    execute format(
        'create trigger append_only before update or delete or truncate on %s '
        'for each statement execute function log.refuse_change()', target);
end
$$;

-- Adds a lane. Lanes only grow: families keep theirs, new families spread over all. Kafka's topic needs a partition for it.
create function log.add_lane(new_lane smallint) returns void
language plpgsql
as $$
declare
    name constant text := 'events_lane_' || new_lane;
begin
    execute format('create table log.%I partition of log.events for values in (%s)', name, new_lane);
    -- Only ever inserted into: vacuum has to be told to come, for the visibility map and for freezing.
    execute format(
        'alter table log.%I set (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 10000, '
        'autovacuum_analyze_scale_factor = 0.02)', name);
    -- Asked by its own name a partition does not know its parent's policies: so it answers nobody.
    execute format('alter table log.%I enable row level security', name);
    execute format('alter table log.%I force row level security', name);
    perform log.make_append_only(format('log.%I', name)::regclass);
    insert into log.lanes (lane) values (new_lane);
end
$$;

do $$
begin
    perform log.make_append_only(target)
    from unnest(array['log.events', 'log.families', 'log.commands', 'log.claims']::regclass[]) target;
    perform log.add_lane(lane::smallint) from generate_series(0, 7) lane;
end
$$;

alter table log.commands set (
    autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 10000, autovacuum_analyze_scale_factor = 0.02
);

revoke all on all functions in schema log from public;
grant execute on all functions in schema log to kinledger_writer;
revoke execute on function log.add_lane(smallint), log.make_append_only(regclass) from kinledger_writer;
grant execute on function
    log.length_prefixed(bytea),
    log.leaf_hash(uuid, text, text, bigint, text, text, uuid, date, text, text),
    log.chain_hash(bytea, bigint, timestamptz, bytea)
to kinledger_projector, kinledger_relay;

grant select, insert on log.events, log.families, log.commands, log.claims to kinledger_writer;
grant select on log.lanes to kinledger_writer, kinledger_projector, kinledger_relay;
grant select on log.events, log.families, log.commands, log.relay_checkpoints to kinledger_projector;
grant select on log.relay_checkpoints to kinledger_writer;
grant select on log.events, log.families to kinledger_relay;
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
        -- The reader has no right here at all. Should it ever be given one, it sees one family.
        execute format(
            'create policy %I on log.%I for select to kinledger_reader '
            'using (family_id = nullif(current_setting(''kinledger.family_id'', true), '''')::uuid)', name || '_reader', name);
    end loop;
end
$$;
