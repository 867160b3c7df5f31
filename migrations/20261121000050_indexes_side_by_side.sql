-- The indexes of a generation, each by itself: made one after another, they take longer than filling the tables.

-- Indexes that the definition has and a generation that is being built has not, those that keys rest on included. What takes
-- longest comes first, so that the last to end is a short one.
create function generations.missing_indexes(p_schema text) returns setof text
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select i.relname::text
    from pg_index x
    join pg_class i on i.oid = x.indexrelid
    join pg_class c on c.oid = x.indrelid
    join pg_class own on own.relname = c.relname and own.relnamespace = to_regnamespace(p_schema)
    where c.relnamespace = 'views'::regnamespace
        and exists (select from generations.built b where b.schema_name = p_schema and b.state = 'building')
        and not exists (select from pg_class o where o.relname = i.relname and o.relnamespace = to_regnamespace(p_schema))
    order by pg_relation_size(own.oid) desc, x.indisprimary, i.relname
$$;

-- One of them. Several on one table may be under way at once. That of a key is unique from here on; generations.add_keys_of
-- makes it the key.
create function generations.add_index(p_schema text, p_index text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v record;
begin
    perform generations.require_state(p_schema, 'building');
    select c.relname, pg_get_indexdef(x.indexrelid) as definition
    into strict v
    from pg_index x
    join pg_class i on i.oid = x.indexrelid
    join pg_class c on c.oid = x.indrelid
    where i.relname = p_index
        and i.relnamespace = 'views'::regnamespace;
    execute replace(v.definition, format(' ON views.%I ', v.relname), format(' ON %I.%I ', p_schema, v.relname));
end
$$;

-- As before, but an index that is there already becomes the key.
create or replace function generations.add_keys_of(p_schema text, p_tables text[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v record;
begin
    perform generations.require_state(p_schema, 'building');
    for v in
        select c.relname, k.conname, pg_get_constraintdef(k.oid) as definition,
            case k.contype when 'p' then 'primary key' else 'unique' end as kind,
            exists (
                select from pg_class o where o.relname = k.conname and o.relnamespace = own.relnamespace and o.relkind = 'i'
            ) as is_indexed
        from pg_constraint k
        join pg_class c on c.oid = k.conrelid
        join pg_class own on own.relname = c.relname and own.relnamespace = to_regnamespace(p_schema)
        where c.relnamespace = 'views'::regnamespace
            and c.relname = any (p_tables)
            and k.contype in ('p', 'u')
            and not exists (select from pg_constraint o where o.conrelid = own.oid and o.conname = k.conname)
        order by c.relname, k.conname
    loop
        execute format('alter table %I.%I add constraint %I ', p_schema, v.relname, v.conname)
            || case when v.is_indexed then format('%s using index %I', v.kind, v.conname) else v.definition end;
    end loop;
end
$$;

create or replace function generations.add_keys(p_schema text) returns void
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select generations.add_keys_of(p_schema, array(
        select c.relname::text from pg_class c where c.relnamespace = 'views'::regnamespace and c.relkind = 'r'
    ))
$$;

revoke all on function generations.missing_indexes(text), generations.add_index(text, text) from public;
grant execute on function generations.missing_indexes(text), generations.add_index(text, text) to kinledger_projector;
