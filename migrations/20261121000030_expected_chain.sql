-- An append names the chain hash of the head it was decided on, not only its number.
--
-- A worker keeps a family's state in memory with the head it is true at. When the database is restored under it and the family
-- grows again to the same `family_seq`, the numbers agree and the histories do not; the chain hash agrees only when all of the
-- history does. docs/adr/0024-appends-name-the-chain.md has the reasons.
--
-- `p_chain` has an element for each command: the hash for the first of a family, nothing for those that follow it in the batch,
-- whose head is not made yet. A process of the release before does not know it and is compared by number, as it was.
--
-- The function is that of 20261121000005 but for this parameter and the one comparison, where a family's commands begin. It is
-- dropped first, because another parameter would make a second function beside it.
drop function log.append_lanes(
    boolean, smallint[], smallint[], uuid[], uuid[], int[], bytea[], bigint[], boolean[], int[], json[], int[], bigint[], text[],
    text[], bigint[], text[], text[], json[], date[], bytea[], int[], text[], bytea[]
);

create function log.append_lanes(
    p_waits boolean, p_lanes smallint[], p_lane smallint[],
    p_family uuid[], p_command uuid[], p_same_as int[], p_hash bytea[], p_expected bigint[], p_creates boolean[],
    p_events int[], p_metadata json[],
    e_command int[], e_family_seq bigint[], e_aggregate_type text[], e_aggregate_id text[], e_sequence bigint[], e_event_type text[],
    e_event_version text[], e_payload json[], e_effective_on date[], e_leaf bytea[],
    c_command int[], c_scope text[], c_hash bytea[],
    p_chain bytea[] default '{}',
    out appended_at timestamptz, out verdicts smallint[], out end_positions bigint[], out head_chains bytea[],
    out first_seqs bigint[], out last_seqs bigint[], out stored_requests bytea[], out stored_ats timestamptz[], out taken_scopes text[]
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
    -- The partitions between the two are all that the look-ups open.
    lane_from constant smallint := p_lanes[1];
    lane_to constant smallint := p_lanes[cardinality(p_lanes)];
    v_held boolean[] := '{}';
    v_is_busy boolean := false;
    v_done boolean;
    v_us bytea;
    v_lane_positions bigint[];
    v_heads bigint[];
    v_chains bytea[];
    v_homes smallint[];
    v_known int[];
    v_has_headless boolean;
    v_held_claims int[];
    v_is_plain boolean;
    v_stored log.commands;
    v_event int := 1;
    v_claim int := 1;
    v_claim_from int;
    v_same int;
    v_lane smallint;
    v_lane_number int := 0;
    v_position bigint;
    v_family uuid;
    v_home smallint;
    v_creates boolean;
    v_has_failed boolean;
    v_seq bigint;
    v_chain bytea;
    v_verdict smallint;
    v_taken text;
    v_created uuid[] := '{}';
    v_created_lanes smallint[] := '{}';
    v_created_rows int;
    -- Claims of this batch so far.
    v_claimed bytea[] := '{}';
    v_claimed_by int[] := '{}';
    -- One element an event; no position where the event does not happen.
    o_position bigint[] := array_fill(null::bigint, array[n_events]);
    o_chain bytea[] := array_fill(null::bytea, array[n_events]);
begin
    -- Each statement has to see what the last holder of a lock committed. With one snapshot for the whole transaction it
    -- would not, and positions would be given twice.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'log.append_lanes needs read committed' using errcode = 'invalid_transaction_state';
    end if;

    for i in 1 .. cardinality(p_lanes) loop
        if p_lanes[i] <= v_lane then
            raise exception 'the lanes are not in order' using errcode = 'invalid_parameter_value';
        end if;
        v_lane := p_lanes[i];
        if p_waits then
            v_done := pg_advisory_xact_lock(4711, v_lane) is null;
            v_held[i] := true;
        else
            v_held[i] := pg_try_advisory_xact_lock(4711, v_lane);
        end if;
    end loop;

    -- Statements of their own, whose snapshots are taken after the locks: the lanes' heads, then the families' heads and homes
    -- (each once, where its commands begin) and which commands are known.
    select array_agg(coalesce(h.position, 0) order by l.n), greatest(clock_timestamp(), max(h.recorded_at))
    into v_lane_positions, appended_at
    from generate_series(1, cardinality(p_lanes)) l (n)
    left join lateral (
        select e.position, e.recorded_at from log.events e
        where e.lane between lane_from and lane_to and e.lane = p_lanes[l.n]
        order by e.position desc limit 1
    ) h on true;

    -- Whether a family begins is asked in each look-up and not once: a filter without rows keeps the index from being opened.
    select
        array_agg(coalesce(h.family_seq, 0) order by c.n),
        array_agg(coalesce(h.chain_hash, '\x0000000000000000000000000000000000000000000000000000000000000000') order by c.n),
        array_agg(f.lane order by c.n),
        array_agg(c.n) filter (where k.command_id is not null),
        bool_or(h.family_seq is null and p_family[c.n - 1] is distinct from p_family[c.n])
    into v_heads, v_chains, v_homes, v_known, v_has_headless
    from generate_series(1, n_commands) c (n)
    left join lateral (
        select e.family_seq, e.chain_hash from log.events e
        where e.lane between lane_from and lane_to and e.lane = p_lane[c.n] and e.family_id = p_family[c.n]
            and p_family[c.n - 1] is distinct from p_family[c.n]
        order by e.family_seq desc limit 1
    ) h on true
    -- A family that has events here lives here; only one without them has to be asked for.
    left join lateral (
        select a.lane from log.families a
        where a.family_id = p_family[c.n] and h.family_seq is null and p_family[c.n - 1] is distinct from p_family[c.n] limit 1
    ) f on true
    left join lateral (
        select a.command_id from log.commands a
        where a.lane = p_lane[c.n] and a.family_id = p_family[c.n] and a.command_id = p_command[c.n] limit 1
    ) k on true;
    v_us := int8send((extract(epoch from appended_at) * 1000000)::bigint);

    if n_claims > 0 then
        select array_agg(c.n)
        into v_held_claims
        from generate_series(1, n_claims) c (n)
        cross join lateral (
            select from log.claims k where k.scope = c_scope[c.n] and k.value_hash = c_hash[c.n] limit 1
        ) k;
    end if;

    -- A batch of nothing but plain commands asks less of each.
    v_is_plain := n_claims = 0 and v_known is null and not v_has_headless and p_same_as = '{}' and p_creates = '{}';
    verdicts := array_fill(0::smallint, array[n_commands]);
    end_positions := array_fill(null::bigint, array[n_commands]);
    head_chains := array_fill(null::bytea, array[n_commands]);
    if v_known is not null or p_same_as <> '{}' then
        first_seqs := end_positions;
        last_seqs := end_positions;
        stored_requests := head_chains;
        stored_ats := array_fill(null::timestamptz, array[n_commands]);
    end if;
    if n_claims > 0 then
        taken_scopes := array_fill(null::text, array[n_commands]);
    end if;
    v_lane := null;

    for i in 1 .. n_commands loop
        if v_family is distinct from p_family[i] then
            v_family := p_family[i];
            v_seq := v_heads[i];
            v_chain := v_chains[i];
            -- Decided on another history, whatever its length. A repeat is recognised all the same.
            v_has_failed := coalesce(p_chain[i] <> '' and p_chain[i] <> v_chain, false);
            if v_lane is distinct from p_lane[i] then
                v_lane := p_lane[i];
                v_lane_number := v_lane_number + 1;
                v_position := v_lane_positions[v_lane_number];
                if v_lane is distinct from p_lanes[v_lane_number] then
                    raise exception 'commands are not in the order of their lanes' using errcode = 'invalid_parameter_value';
                end if;
                v_is_busy := not v_held[v_lane_number];
            end if;
            if not v_is_plain then
                v_home := case when v_seq > 0 then v_lane else v_homes[i] end;
            end if;
        end if;

        if v_is_busy then
            v_verdict := 4;
            while v_claim <= n_claims and c_command[v_claim] = i loop
                v_claim := v_claim + 1;
            end loop;
        elsif v_is_plain then
            v_verdict := case when v_has_failed or v_seq <> p_expected[i] then 2 else 0 end;
        else
            v_taken := null;
            v_claim_from := v_claim;
            while v_claim <= n_claims and c_command[v_claim] = i loop
                if v_taken is null and (v_claim = any (v_held_claims) or c_hash[v_claim] = any (v_claimed)) then
                    v_taken := c_scope[v_claim];
                end if;
                v_claim := v_claim + 1;
            end loop;
            v_same := coalesce(p_same_as[i], 0);
            v_creates := coalesce(p_creates[i], false);
            if i = any (v_known) or (v_same > 0 and verdicts[v_same] = 0) then
                v_verdict := 1;
            elsif v_has_failed or v_same > 0 or v_seq <> p_expected[i] then
                v_verdict := 2;
            elsif (case when v_creates then v_home is not null else v_home is distinct from v_lane end) then
                v_verdict := 2;
            elsif v_taken is not null then
                v_verdict := 3;
                taken_scopes[i] := v_taken;
            else
                v_verdict := 0;
                if v_creates then
                    v_home := v_lane;
                    v_created := v_created || v_family;
                    v_created_lanes := v_created_lanes || v_lane;
                end if;
                while v_claim_from < v_claim loop
                    v_claimed := v_claimed || c_hash[v_claim_from];
                    v_claimed_by := v_claimed_by || v_claim_from;
                    v_claim_from := v_claim_from + 1;
                end loop;
            end if;
        end if;

        if v_verdict = 0 then
            for n in 1 .. p_events[i] loop
                v_seq := v_seq + 1;
                v_position := v_position + 1;
                v_chain := sha256('\x02'::bytea || v_chain || int8send(v_seq) || v_us || e_leaf[v_event]);
                if e_command[v_event] <> i or e_family_seq[v_event] <> v_seq then
                    raise exception 'events are not in the order of their commands' using errcode = 'invalid_parameter_value';
                end if;
                o_position[v_event] := v_position;
                o_chain[v_event] := v_chain;
                v_event := v_event + 1;
            end loop;
            end_positions[i] := v_position;
            head_chains[i] := v_chain;
        else
            verdicts[i] := v_verdict;
            v_has_failed := true;
            v_event := v_event + p_events[i];
            if v_verdict = 1 and i = any (v_known) then
                select k.* into strict v_stored from log.commands k
                where k.lane = v_lane and k.family_id = v_family and k.command_id = p_command[i];
                first_seqs[i] := v_stored.first_family_seq;
                last_seqs[i] := v_stored.last_family_seq;
                end_positions[i] := v_stored.last_position;
                stored_requests[i] := v_stored.request_hash;
                stored_ats[i] := v_stored.recorded_at;
            elsif v_verdict = 1 then
                first_seqs[i] := p_expected[v_same] + 1;
                last_seqs[i] := p_expected[v_same] + p_events[v_same];
                end_positions[i] := end_positions[v_same];
                stored_requests[i] := p_hash[v_same];
                stored_ats[i] := appended_at;
            end if;
        end if;
    end loop;

    if v_event <> n_events + 1 or v_claim <= n_claims then
        raise exception 'events or claims are not in the order of their commands' using errcode = 'invalid_parameter_value';
    end if;

    if cardinality(v_created) > 0 then
        -- In order of id, so that two appends that create the same families do not wait for each other in a circle.
        insert into log.families (family_id, lane, created_at)
        select c.family_id, c.lane, appended_at from unnest(v_created, v_created_lanes) c (family_id, lane) order by c.family_id
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

    -- The arrays are indexed and not unnested: `unnest` would copy every value once more into a store of its own.
    insert into log.events (
        aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
        lane, position, family_id, family_seq, command_id, effective_on, recorded_at, leaf_hash, chain_hash
    )
    select e_aggregate_type[n], e_aggregate_id[n], e_sequence[n], e_event_type[n], e_event_version[n], e_payload[n],
        p_metadata[e_command[n]], p_lane[e_command[n]], o_position[n], p_family[e_command[n]], e_family_seq[n],
        p_command[e_command[n]], e_effective_on[n], appended_at, e_leaf[n], o_chain[n]
    from generate_series(1, n_events) n
    where o_position[n] is not null;

    insert into log.commands (
        lane, family_id, command_id, request_hash, first_family_seq, last_family_seq, last_position, recorded_at
    )
    select p_lane[n], p_family[n], p_command[n], p_hash[n], p_expected[n] + 1, p_expected[n] + p_events[n], end_positions[n], appended_at
    from generate_series(1, n_commands) n
    where verdicts[n] = 0;
end
$$;

revoke all on function log.append_lanes from public;
grant execute on function log.append_lanes to kinledger_writer;
