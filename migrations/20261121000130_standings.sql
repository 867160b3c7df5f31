-- How a member stands in the family, where that is not as usual: gone, or looking until a moment.

create table views.standings (
    family_id uuid not null,
    member_id uuid not null,
    has_left boolean not null,
    until_on date,
    ends_at timestamptz,
    constraint standings_pkey primary key (family_id, member_id),
    constraint standings_term check ((until_on is null) = (ends_at is null))
);
comment on column views.standings.ends_at is 'from here on an auditor has no access; members.role says whether it is one';

alter table views.standings enable row level security;
alter table views.standings force row level security;
create policy standings_projector on views.standings to kinledger_projector using (true) with check (true);
create policy standings_reader on views.standings for select to kinledger_reader
    using (family_id = nullif(current_setting('kinledger.family_id', true), '')::uuid);
create policy standings_own on views.standings for select to kinledger_reader
    using (family_id = any ((select generations.own_families())::uuid[]));
grant select, insert, update, delete, truncate on views.standings to kinledger_projector;
grant select on views.standings to kinledger_reader, kinledger_replayer;

-- As before, and no place for an auditor whose term is over. Who has left sits in no place: their row names no person.
create or replace function generations.places(p_families uuid[], p_users uuid[])
returns table (
    place integer, member_id uuid, role text, family_seq bigint, generation text, name text, currency text, zone text,
    week_start text
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_number bigint;
    v_path text;
begin
    select l.number, l.search_path into strict v_number, v_path from generations.live l where l.is_live;
    perform set_config('search_path', v_path || ', pg_temp', true);
    return query
    select a.place::integer, m.member_id, m.role, h.family_seq, v_number::text, f.name, f.currency, f.zone, f.week_start
    from unnest(p_families, p_users) with ordinality a (family_id, user_id, place)
    join members m on m.user_id = a.user_id and m.family_id = a.family_id
    join families f on f.family_id = m.family_id
    join family_heads h on h.family_id = m.family_id
    left join standings s on s.family_id = m.family_id and s.member_id = m.member_id
    where s.ends_at is null or s.ends_at > statement_timestamp() or m.role <> 'auditor';
end
$$;
