-- Who writes to the log sees one family of it at a time, and appends by one function only.
--
-- Until now the writer's policies let it see every row, and its rights let it insert whatever it liked. Now a transaction of the
-- writer sees the family it names (`kinledger.family_id`, the setting that readers of views name theirs by); without one it sees
-- nothing. An append is of many families in one statement by its nature, and so are three questions about many of them: those are
-- functions with their owner's rights. The owner is bound by forced policies like everybody, and passes them as a member of
-- `kinledger_log`, a role that has nothing else and that no other login is a member of. Operators' audits read the whole log, and have
-- a role for that which writes nothing. docs/adr/0045-identity-and-writer-apart.md has the choice.
do $$
declare
    v_role name;
begin
    foreach v_role in array array['kinledger_log', 'kinledger_auditor'] loop
        if not exists (select from pg_roles where rolname = v_role) then
            begin
                execute format('create role %I nologin', v_role);
            exception when duplicate_object or unique_violation then
                -- Another database's migration on this server was quicker.
                null;
            end;
        end if;
        if not pg_has_role(current_user, v_role, 'member')
            or not (select rolsuper from pg_roles where rolname = current_user)
        then
            begin
                execute format('grant %I to current_user', v_role);
            exception when unique_violation then
                null;
            end;
        end if;
    end loop;
end
$$;

-- A login of services that may step down to the writer read the whole log by it, and audits by the new role from now on.
do $$
declare
    v_login name;
begin
    for v_login in
        select login.rolname
        from pg_auth_members as known
        join pg_roles as login on login.oid = known.member
        where known.roleid = 'kinledger_writer'::regrole
            and login.rolcanlogin
            and not pg_has_role(login.oid, 'kinledger_auditor', 'member')
    loop
        begin
            execute format('grant kinledger_auditor to %I', v_login);
        exception when unique_violation or undefined_object then
            -- Granted, or gone, meanwhile.
            null;
        end;
    end loop;
end
$$;

-- What an append reads and writes, and the keys that an erasure destroys with it.
create policy events_log on log.events to kinledger_log using (true) with check (true);
create policy families_log on log.families to kinledger_log using (true) with check (true);
create policy commands_log on log.commands to kinledger_log using (true) with check (true);
create policy claims_log on log.claims to kinledger_log using (true) with check (true);
create policy member_keys_log on keys.member_keys to kinledger_log using (true) with check (true);

-- The auditors': everything the log has, and nothing to write.
grant usage on schema log, keys to kinledger_auditor;
grant select
    on log.events, log.families, log.commands, log.lanes, log.installation, log.sealing_keys, log.tree_nodes, log.checkpoints,
        log.checkpoint_signatures, log.signed_checkpoints, log.head_buckets
    to kinledger_auditor;
grant select on keys.member_keys, keys.changes to kinledger_auditor;
create policy events_auditor on log.events for select to kinledger_auditor using (true);
create policy families_auditor on log.families for select to kinledger_auditor using (true);
create policy commands_auditor on log.commands for select to kinledger_auditor using (true);
create policy member_keys_auditor on keys.member_keys for select to kinledger_auditor using (true);

-- The writer: one family, to read. The setting is read once for a statement and not once for a row.
revoke insert on log.events, log.families, log.commands from kinledger_writer;
revoke all on log.claims from kinledger_writer;
drop policy claims_writer on log.claims;
drop policy events_writer on log.events;
drop policy families_writer on log.families;
drop policy commands_writer on log.commands;
create policy events_writer on log.events for select to kinledger_writer
    using (family_id = (select nullif(current_setting('kinledger.family_id', true), '')::uuid));
create policy families_writer on log.families for select to kinledger_writer
    using (family_id = (select nullif(current_setting('kinledger.family_id', true), '')::uuid));
create policy commands_writer on log.commands for select to kinledger_writer
    using (family_id = (select nullif(current_setting('kinledger.family_id', true), '')::uuid));

-- In which families somebody has or had a place.
create function log.families_of(p_user text) returns table (lane smallint, family_id uuid)
    language sql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
    select distinct e.lane, e.family_id
    from log.events as e
    where e.event_type = 'MemberJoined' and e.payload ->> 'user_id' = p_user
    order by e.family_id
$$;

-- Which of these families there are.
create function log.known_families(p_families uuid[]) returns table (family_id uuid)
    language sql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
    select f.family_id
    from log.families as f
    where f.family_id = any (p_families)
$$;

-- How far streams of one kind go, each in its lane: numbers alone, and 0 for one without events.
create function log.stream_ends(p_kind text, p_lanes smallint[], p_ids uuid[]) returns table (id uuid, sequence bigint)
    language sql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
    select
        s.id,
        coalesce((
            select e.sequence
            from log.events as e
            where e.lane = s.lane and e.aggregate_type = p_kind and e.aggregate_id = s.id::text
            order by e.sequence desc
            limit 1
        ), 0)
    from unnest(p_lanes, p_ids) as s (lane, id)
$$;

revoke all on function log.families_of(text), log.known_families(uuid[]), log.stream_ends(text, smallint[], uuid[]) from public;
grant execute
    on function log.families_of(text), log.known_families(uuid[]), log.stream_ends(text, smallint[], uuid[])
    to kinledger_writer;

alter function log.append_lanes security definer;
alter function log.append_lanes set search_path = pg_catalog, pg_temp;
