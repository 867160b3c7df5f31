-- Who asks, as before, and the chain hash of the last event in the family's rows: after a restore to an earlier moment the family
-- comes to the same numbers another way, and what was answered of the history that was given up must not be taken for an answer of
-- this one.
drop function generations.places(uuid[], uuid[]);
create function generations.places(p_families uuid[], p_users uuid[])
returns table (
    place integer, member_id uuid, role text, family_seq bigint, generation text, name text, currency text, zone text,
    week_start text, awaits_consent boolean, chain_hash bytea
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
    select a.place::integer, m.member_id, m.role, h.family_seq, v_number::text, f.name, f.currency, f.zone, f.week_start,
        generations.awaits_consent(m.role, r.age, r.notice_version, c.youngest, c.notice_version, c.is_revoked),
        h.chain_hash
    from unnest(p_families, p_users) with ordinality a (family_id, user_id, place)
    join members m on m.user_id = a.user_id and m.family_id = a.family_id
    join families f on f.family_id = m.family_id
    join family_heads h on h.family_id = m.family_id
    left join standings s on s.family_id = m.family_id and s.member_id = m.member_id
    left join consent_rules r on r.family_id = m.family_id
    left join consents c on c.family_id = m.family_id and c.member_id = m.member_id
    where s.ends_at is null or s.ends_at > statement_timestamp() or m.role <> 'auditor';
end
$$;
revoke all on function generations.places(uuid[], uuid[]) from public;
grant execute on function generations.places(uuid[], uuid[]) to kinledger_reader;
