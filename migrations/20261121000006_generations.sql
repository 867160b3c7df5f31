-- Generations of the views: how rows are built again beside the ones that answer, and switched to in one step.
--
-- The tables of the schema `views` are the definition, and the first generation. A rebuild makes a schema `views_g<n>` with
-- copies of them, fills it, and then points `generations.live` at it. Readers and projectors take their search path from that
-- row at the start of each transaction and name tables without a schema. A reader reads the row in the very snapshot it
-- answers from, so it sees one generation whole, whatever is switched meanwhile. projectors/src/generation.rs tells the rest.
--
-- Advisory lock classes: 4720 is held shared by every batch that is folded into the live generation, and alone by a switch;
-- 4721 is held by the one rebuild there may be.

create schema generations;
revoke all on schema generations from public;
grant usage on schema generations to kinledger_projector, kinledger_reader;

create table generations.live (
    is_live boolean not null default true,
    number bigint not null,
    search_path text not null,
    version integer not null,
    since timestamptz not null default now(),
    constraint live_pkey primary key (is_live),
    constraint live_one_row check (is_live)
);
comment on table generations.live is 'where rows are read and written: one row';
comment on column generations.live.number is 'goes up with every switch; part of every ETag';
comment on column generations.live.version is 'projectors::VERSION of the code that folded these rows';

create table generations.built (
    schema_name text not null,
    number bigint not null,
    version integer not null,
    tables text[] not null,
    helpers text[] not null,
    state text not null,
    created_at timestamptz not null default now(),
    constraint built_pkey primary key (schema_name),
    constraint built_number_key unique (number),
    constraint built_state_check check (state in ('building', 'live', 'retired', 'kept'))
);
comment on table generations.built is 'every generation that is on disk beside the schema views';
comment on column generations.built.helpers is 'tables that are filled because others are folded from them, and are not switched to';

create sequence generations.numbers;

insert into generations.live (number, search_path, version) values (0, 'views', 1);

-- The families a person has taken a place in, for the one question across families. The table is found when it is asked, by
-- the search path of the transaction, so that a policy of one generation never reads another's members.
create function generations.own_families() returns uuid[]
language plpgsql stable
as $$
begin
    return array(
        select m.family_id
        from members m
        where m.user_id = nullif(current_setting('kinledger.user_id', true), '')::uuid
    );
end
$$;

drop policy families_own on views.families;
create policy families_own on views.families for select to kinledger_reader
    using (family_id = any ((select generations.own_families())::uuid[]));
drop policy family_heads_own on views.family_heads;
create policy family_heads_own on views.family_heads for select to kinledger_reader
    using (family_id = any ((select generations.own_families())::uuid[]));

-- The functions below act as their owner, because a projector may neither create nor drop. They work on names that stand in
-- `generations.built` or in `views` and on no others.

-- Makes the tables of a new generation: columns, defaults and checks, open to projectors alone. No keys yet: filling a table
-- without them is faster, and COPY does not work under row-level security.
create function generations.begin_build(p_version integer, p_tables text[], p_helpers text[]) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_number constant bigint := nextval('generations.numbers');
    v_schema constant text := 'views_g' || v_number;
    v_tables constant text[] := p_tables || p_helpers || array['checkpoints', 'family_heads', 'parked_families'];
    v_table text;
begin
    insert into generations.built (schema_name, number, version, tables, helpers, state)
    values (v_schema, v_number, p_version, p_tables, p_helpers, 'building');
    execute format('create schema %I', v_schema);
    execute format('grant usage on schema %I to kinledger_projector, kinledger_reader', v_schema);
    for v_table in select distinct t from unnest(v_tables) t order by t loop
        execute format(
            'create table %I.%I (like views.%I including defaults including constraints including comments including storage)',
            v_schema, v_table, v_table
        );
        execute format(
            'grant select, insert, update, delete, truncate on %I.%I to kinledger_projector', v_schema, v_table
        );
    end loop;
    return v_schema;
end
$$;

create function generations.require_state(p_schema text, p_state text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from generations.built b where b.schema_name = p_schema and b.state = p_state) then
        raise exception 'generation % is not %', p_schema, p_state using errcode = 'object_not_in_prerequisite_state';
    end if;
end
$$;

-- Keys as the definition has them. Idempotent.
create function generations.add_keys(p_schema text) returns void
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
            and k.contype in ('p', 'u')
            and not exists (select from pg_constraint o where o.conrelid = own.oid and o.conname = k.conname)
        order by c.relname, k.conname
    loop
        execute format('alter table %I.%I add constraint %I %s', p_schema, v_key.relname, v_key.conname, v_key.definition);
    end loop;
end
$$;

-- Everything else that the definition has: indexes, row-level policies, the reader's rights. Idempotent. From here on the
-- generation can answer.
create function generations.complete(p_schema text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v record;
begin
    perform generations.add_keys(p_schema);
    -- Policies are printed with names as the search path has them: without a schema, so that they follow the new tables.
    perform set_config('search_path', 'views, pg_temp', true);
    for v in
        select c.relname, i.relname as index_name, pg_get_indexdef(x.indexrelid) as definition
        from pg_index x
        join pg_class i on i.oid = x.indexrelid
        join pg_class c on c.oid = x.indrelid
        join pg_class own on own.relname = c.relname and own.relnamespace = to_regnamespace(p_schema)
        where c.relnamespace = 'views'::regnamespace
            and not exists (select from pg_constraint k where k.conindid = x.indexrelid)
            and not exists (
                select from pg_class o where o.relname = i.relname and o.relnamespace = to_regnamespace(p_schema)
            )
        order by c.relname, i.relname
    loop
        execute replace(v.definition, format(' ON views.%I ', v.relname), format(' ON %I.%I ', p_schema, v.relname));
    end loop;
    for v in
        select c.relname, c.relrowsecurity, c.relforcerowsecurity, own.oid as own,
            has_table_privilege('kinledger_reader', c.oid, 'select') as is_readable
        from pg_class c
        join pg_class own on own.relname = c.relname and own.relnamespace = to_regnamespace(p_schema)
        where c.relnamespace = 'views'::regnamespace
            and c.relkind = 'r'
        order by c.relname
    loop
        if v.relrowsecurity then
            execute format('alter table %I.%I enable row level security', p_schema, v.relname);
        end if;
        if v.relforcerowsecurity then
            execute format('alter table %I.%I force row level security', p_schema, v.relname);
        end if;
        if v.is_readable then
            execute format('grant select on %I.%I to kinledger_reader', p_schema, v.relname);
        end if;
    end loop;
    perform set_config('search_path', format('%I, views, pg_temp', p_schema), true);
    for v in
        select p.tablename, p.policyname, p.permissive, p.cmd, p.qual, p.with_check,
            (select string_agg(quote_ident(r), ', ') from unnest(p.roles) r) as roles
        from pg_policies p
        where p.schemaname = 'views'
            and exists (select from pg_class o where o.relname = p.tablename and o.relnamespace = to_regnamespace(p_schema))
            and not exists (
                select from pg_policies o
                where o.schemaname = p_schema and o.tablename = p.tablename and o.policyname = p.policyname
            )
        order by p.tablename, p.policyname
    loop
        execute format('create policy %I on %I.%I as %s for %s to %s', v.policyname, p_schema, v.tablename, v.permissive, v.cmd, v.roles)
            || coalesce(' using (' || v.qual || ')', '')
            || coalesce(' with check (' || v.with_check || ')', '');
    end loop;
end
$$;

-- Lets the generation answer, from the commit of the caller's transaction on. Whoever folds into the live generation holds
-- the lock shared, so nobody is in the middle of a batch, and nobody begins one before that commit.
--
-- Of a rebuild of single views only their tables are switched to; the others stay where they are, further back in the path.
create function generations.switch_to(p_schema text, p_keeps_old boolean) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_built generations.built;
    v_is_whole boolean;
    v_path text[];
    v_table text;
begin
    perform pg_advisory_xact_lock(4720, 0);
    perform generations.require_state(p_schema, 'building');
    select * into strict v_built from generations.built b where b.schema_name = p_schema;
    select not exists (
        select from pg_class c
        where c.relnamespace = 'views'::regnamespace
            and c.relkind = 'r'
            and c.relname not in ('checkpoints', 'family_heads', 'parked_families')
            and c.relname <> all (v_built.tables)
    ) into v_is_whole;
    if v_is_whole then
        -- The definition stays last: a table that a later release adds is found there until it is built here.
        v_path := array[p_schema, 'views'];
    else
        for v_table in
            select c.relname from pg_class c
            where c.relnamespace = to_regnamespace(p_schema) and c.relkind = 'r' and c.relname <> all (v_built.tables)
        loop
            execute format('drop table %I.%I', p_schema, v_table);
        end loop;
        -- A generation of which every table stands further ahead in the path answers nothing any more.
        select array[p_schema] || array_agg(s.name order by s.place)
        into v_path
        from generations.live l, string_to_table(l.search_path, ', ') with ordinality s (name, place)
        where s.name = 'views'
            or exists (
                select from pg_class c
                where c.relnamespace = to_regnamespace(s.name)
                    and c.relkind = 'r'
                    and c.relname <> all (v_built.tables)
                    and not exists (
                        select
                        from string_to_table(l.search_path, ', ') with ordinality a (name, place)
                        join pg_class ahead on ahead.relnamespace = to_regnamespace(a.name) and ahead.relname = c.relname
                        where a.place < s.place
                    )
            );
    end if;
    update generations.live
    set number = v_built.number,
        search_path = array_to_string(v_path, ', '),
        version = v_built.version,
        since = now();
    update generations.built b
    set state = case when b.schema_name = any (v_path) then 'live' when p_keeps_old then 'kept' else 'retired' end
    where b.state in ('building', 'live');
    return array_to_string(v_path, ', ');
end
$$;

-- Rows into which nothing was folded yet are rows of every version: a fresh database begins with that of the release.
create function generations.adopt_version(p_version integer) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_path text;
    v_is_fresh boolean;
begin
    perform pg_advisory_xact_lock(4720, 0);
    select l.search_path into strict v_path from generations.live l;
    perform set_config('search_path', v_path || ', pg_temp', true);
    select not exists (select from checkpoints c where c.position > 0) into v_is_fresh;
    if v_is_fresh then
        update generations.live set version = p_version where version < p_version;
    end if;
    return v_is_fresh;
end
$$;

-- Drops one generation that does not answer.
create function generations.drop_build(p_schema text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from generations.built b where b.schema_name = p_schema and b.state <> 'live') then
        raise exception 'generation % is not one that may be dropped', p_schema using errcode = 'object_not_in_prerequisite_state';
    end if;
    execute format('drop schema if exists %I cascade', p_schema);
    delete from generations.built b where b.schema_name = p_schema;
end
$$;

-- Frees the space of what stands further back in the live path behind a newer table: rows of the definition and of older
-- generations that nobody can reach. The caller has waited until no reader of them is left.
create function generations.clear_hidden() returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v record;
    v_count integer := 0;
begin
    for v in
        select s.name, c.relname
        from generations.live l, string_to_table(l.search_path, ', ') with ordinality s (name, place)
        join pg_class c on c.relnamespace = to_regnamespace(s.name) and c.relkind = 'r'
        where exists (
            select
            from string_to_table(l.search_path, ', ') with ordinality a (name, place)
            join pg_class ahead on ahead.relnamespace = to_regnamespace(a.name) and ahead.relname = c.relname
            where a.place < s.place
        )
    loop
        if v.name = 'views' then
            execute format('truncate views.%I', v.relname);
        else
            execute format('drop table %I.%I', v.name, v.relname);
        end if;
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;

revoke all on all functions in schema generations from public;
grant execute on function generations.own_families() to kinledger_reader, kinledger_projector;
grant execute on function
    generations.begin_build(integer, text[], text[]),
    generations.add_keys(text),
    generations.complete(text),
    generations.switch_to(text, boolean),
    generations.adopt_version(integer),
    generations.drop_build(text),
    generations.clear_hidden()
to kinledger_projector;
grant select on generations.live to kinledger_projector, kinledger_reader;
grant select on generations.built to kinledger_projector;
