-- What a rebuild does to a generation on the way, beside generations.begin_build and generations.complete.

-- Keys of some tables: those that are filled by statements, which need them, and not by COPY.
create function generations.add_keys_of(p_schema text, p_tables text[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_key record;
begin
    perform generations.require_state(p_schema, 'building');
    for v_key in
        select c.relname, k.conname, pg_get_constraintdef(k.oid) as definition
        from pg_constraint k
        join pg_class c on c.oid = k.conrelid
        join pg_class own on own.relname = c.relname and own.relnamespace = to_regnamespace(p_schema)
        where c.relnamespace = 'views'::regnamespace
            and c.relname = any (p_tables)
            and k.contype in ('p', 'u')
            and not exists (select from pg_constraint o where o.conrelid = own.oid and o.conname = k.conname)
        order by c.relname, k.conname
    loop
        execute format('alter table %I.%I add constraint %I %s', p_schema, v_key.relname, v_key.conname, v_key.definition);
    end loop;
end
$$;

-- Statistics, so that the first answers after the switch are planned for full tables and not for empty ones.
create function generations.analyze_build(p_schema text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_table text;
begin
    perform generations.require_state(p_schema, 'building');
    for v_table in
        select c.relname from pg_class c where c.relnamespace = to_regnamespace(p_schema) and c.relkind = 'r'
    loop
        execute format('analyze %I.%I', p_schema, v_table);
    end loop;
end
$$;

revoke all on function generations.add_keys_of(text, text[]), generations.analyze_build(text) from public;
grant execute on function generations.add_keys_of(text, text[]), generations.analyze_build(text) to kinledger_projector;
