-- Who asks, looked up for several requests at once.
--
-- The look-up that every answer begins with (is this person a member of that family, in which role, how far are its rows, and
-- of which generation are they) in one statement for as many pairs of family and person as wait for it. A transaction of the
-- reader is confined to one family by a setting and could not ask that, so the function acts as its owner; it gives a pair the
-- place of that very person in that very family and nothing else, and to a stranger no row.
--
-- `place` is the pair's number in the arrays, from 1. Like every reader, it takes the path of the live generation from the
-- snapshot it looks in: the function is stable, so all it reads is of the moment at which its statement began.
create function generations.places(p_families uuid[], p_users uuid[])
returns table (
    place integer, member_id uuid, role text, family_seq bigint, generation text, name text, currency text, zone text,
    week_start text
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
-- One plan for all calls, and one that looks into indexes: made while the tables were still small, it must not read the whole
-- of them once they are large. Compiling it would cost more than running it ever does.
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
    join family_heads h on h.family_id = m.family_id;
end
$$;

revoke all on function generations.places(uuid[], uuid[]) from public;
grant execute on function generations.places(uuid[], uuid[]) to kinledger_reader;
