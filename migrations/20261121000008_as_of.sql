-- Looking back: as of a day, and as of a moment of recording.

-- The day from which an entry is reversed: its own, or a later one that was named. As of an earlier day it still stands.
alter table views.entries add column reversed_on date;

-- What of an import counts up to a day.
create index entries_by_import on views.entries (family_id, import_id, effective_on) where import_id is not null;

-- A replay of past views reads the log of one family, named by a setting of its transaction, and folds it into temporary
-- tables made after those of `views`. It sees no row of `views`: it may read their shape, and no policy shows it more.
do $$
begin
    if not exists (select from pg_roles where rolname = 'kinledger_replayer') then
        begin
            create role kinledger_replayer nologin;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end if;
    if not pg_has_role(current_user, 'kinledger_replayer', 'member')
        or not (select rolsuper from pg_roles where rolname = current_user)
    then
        begin
            grant kinledger_replayer to current_user;
        exception when unique_violation then
            null;
        end;
    end if;
    execute format('grant temporary on database %I to kinledger_replayer', current_database());
end
$$;

grant usage on schema log, identity, views to kinledger_replayer;
grant select on log.events, log.families to kinledger_replayer;
grant select on identity.public_keys, identity.revoked_sessions to kinledger_replayer;

do $$
declare
    name text;
begin
    foreach name in array array['events', 'families'] loop
        execute format(
            'create policy %I on log.%I for select to kinledger_replayer '
            'using (family_id = nullif(current_setting(''kinledger.family_id'', true), '''')::uuid)', name || '_replayer', name);
    end loop;
    -- Only tables that row-level security guards, so that the right to their shape is no right to their rows.
    for name in
        select c.relname
        from pg_class c
        where c.relnamespace = 'views'::regnamespace and c.relkind = 'r' and c.relrowsecurity
    loop
        execute format('grant select on views.%I to kinledger_replayer', name);
    end loop;
end
$$;
