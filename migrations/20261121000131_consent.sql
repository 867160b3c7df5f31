-- A parent's consent, as the views have to know it: under which rules a family is, and what is known of a member's consent.

create table views.consent_rules (
    family_id uuid not null,
    country text not null,
    age smallint not null,
    notice_version bigint not null,
    constraint consent_rules_pkey primary key (family_id),
    constraint consent_rules_country check (country ~ '^[A-Z]{2}$')
);

create table views.consents (
    family_id uuid not null,
    member_id uuid not null,
    youngest smallint,
    notice_version bigint,
    is_revoked boolean not null,
    constraint consents_pkey primary key (family_id, member_id)
);
comment on column views.consents.youngest is 'the youngest the member can be, in years; unknown counts as 0';

do $$
declare
    v_table text;
begin
    foreach v_table in array array['consent_rules', 'consents'] loop
        execute format('alter table views.%I enable row level security', v_table);
        execute format('alter table views.%I force row level security', v_table);
        execute format('create policy %I on views.%I to kinledger_projector using (true) with check (true)', v_table || '_projector', v_table);
        execute format(
            'create policy %I on views.%I for select to kinledger_reader '
            'using (family_id = nullif(current_setting(''kinledger.family_id'', true), '''')::uuid)',
            v_table || '_reader', v_table);
        execute format('grant select, insert, update, delete, truncate on views.%I to kinledger_projector', v_table);
        execute format('grant select on views.%I to kinledger_reader, kinledger_replayer', v_table);
    end loop;
end
$$;

-- Does a member wait for a parent's consent? domain/src/family/consent.rs decides it for commands, in the same words.
create function generations.awaits_consent(
    p_role text, p_age smallint, p_notice bigint, p_youngest smallint, p_given bigint, p_is_revoked boolean
) returns boolean
language sql immutable parallel safe
return coalesce(p_role in ('teen', 'child') and coalesce(p_youngest, 0) < p_age
    and (coalesce(p_is_revoked, false) or p_given is distinct from p_notice), false);
revoke all on function generations.awaits_consent(text, smallint, bigint, smallint, bigint, boolean) from public;
grant usage on schema generations to kinledger_replayer;
grant execute on function generations.awaits_consent(text, smallint, bigint, smallint, bigint, boolean)
    to kinledger_reader, kinledger_replayer;

-- As before, and whether the member waits for consent: then no view is answered to them.
drop function generations.places(uuid[], uuid[]);
create function generations.places(p_families uuid[], p_users uuid[])
returns table (
    place integer, member_id uuid, role text, family_seq bigint, generation text, name text, currency text, zone text,
    week_start text, awaits_consent boolean
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
        generations.awaits_consent(m.role, r.age, r.notice_version, c.youngest, c.notice_version, c.is_revoked)
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
