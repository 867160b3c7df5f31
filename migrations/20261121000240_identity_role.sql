-- Identity acts in a role of its own. Until now whoever appended to the log could read password hashes, and whoever signed people in
-- could append. docs/adr/0045-identity-and-writer-apart.md has the choice.
--
-- Nothing of identity needs the log, the views or the keys, and nothing that commands write needs identity: so every right in the
-- schema goes from the writer to the new role as it was given, table by table and column by column, and none stays.
do $$
begin
    if not exists (select from pg_roles where rolname = 'kinledger_identity') then
        begin
            create role kinledger_identity nologin;
        exception when duplicate_object or unique_violation then
            -- Another database's migration on this server was quicker.
            null;
        end;
    end if;
    if not pg_has_role(current_user, 'kinledger_identity', 'member')
        or not (select rolsuper from pg_roles where rolname = current_user)
    then
        begin
            grant kinledger_identity to current_user;
        exception when unique_violation then
            null;
        end;
    end if;
end
$$;

-- A login of services that may step down to the writer had these rights by it, and steps down to the new role for them from now on.
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
            and not pg_has_role(login.oid, 'kinledger_identity', 'member')
    loop
        begin
            execute format('grant kinledger_identity to %I', v_login);
        exception when unique_violation or undefined_object then
            -- Granted, or gone, meanwhile.
            null;
        end;
    end loop;
end
$$;

-- In the writer's policies only the role changes, and their names.
do $$
declare
    v_policy record;
begin
    for v_policy in
        select p.polname, c.relname, p.polroles
        from pg_policy as p
        join pg_class as c on c.oid = p.polrelid
        where c.relnamespace = 'identity'::regnamespace and 'kinledger_writer'::regrole = any(p.polroles)
        order by c.relname
    loop
        if v_policy.polroles <> array['kinledger_writer'::regrole::oid] then
            raise exception 'the policy % on identity.% is of others too', v_policy.polname, v_policy.relname;
        end if;
        execute format('alter policy %I on identity.%I to kinledger_identity', v_policy.polname, v_policy.relname);
        execute format(
            'alter policy %I on identity.%I rename to %I',
            v_policy.polname, v_policy.relname, v_policy.relname || '_identity'
        );
    end loop;
end
$$;

-- Columns before their tables: taking a right on a table away takes it from its columns too.
do $$
declare
    v_right record;
begin
    for v_right in
        select 1 as step, format('%s (%I) on identity.%I', one.privilege_type, a.attname, c.relname) as what
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid
        cross join aclexplode(a.attacl) as one
        where c.relnamespace = 'identity'::regnamespace and one.grantee = 'kinledger_writer'::regrole
        union all
        select 2, format('%s on identity.%I', one.privilege_type, c.relname)
        from pg_class as c
        cross join aclexplode(c.relacl) as one
        where c.relnamespace = 'identity'::regnamespace and one.grantee = 'kinledger_writer'::regrole
        union all
        select 3, format('%s on function %s', one.privilege_type, p.oid::regprocedure)
        from pg_proc as p
        cross join aclexplode(p.proacl) as one
        where p.pronamespace = 'identity'::regnamespace and one.grantee = 'kinledger_writer'::regrole
        order by 1, 2
    loop
        execute format('grant %s to kinledger_identity', v_right.what);
        execute format('revoke %s from kinledger_writer', v_right.what);
    end loop;
end
$$;

grant usage on schema identity to kinledger_identity;
revoke all on schema identity from kinledger_writer;
