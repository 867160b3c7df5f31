-- A family that has not said its country is under the highest age of consent, and nobody can have consented in it. As
-- domain/src/family/consent.rs decides it for commands.
create or replace function generations.awaits_consent(
    p_role text, p_age smallint, p_notice bigint, p_youngest smallint, p_given bigint, p_is_revoked boolean
) returns boolean
language sql immutable parallel safe
return coalesce(p_role in ('teen', 'child') and coalesce(p_youngest, 0) < coalesce(p_age, 16)
    and (coalesce(p_is_revoked, false) or p_given is distinct from coalesce(p_notice, 1)), false);

-- Who waits for consent, as the notifications see it while they are folded; not read by any view.
create table views.notification_rules (
    family_id uuid not null,
    age smallint not null,
    notice_version bigint not null,
    constraint notification_rules_pkey primary key (family_id)
);

create table views.notification_consents (
    family_id uuid not null,
    member_id uuid not null,
    youngest smallint,
    notice_version bigint,
    is_revoked boolean not null,
    constraint notification_consents_pkey primary key (family_id, member_id)
);

do $$
declare
    v_table text;
begin
    foreach v_table in array array['notification_rules', 'notification_consents'] loop
        execute format('alter table views.%I enable row level security', v_table);
        execute format('alter table views.%I force row level security', v_table);
        execute format(
            'create policy %I on views.%I to kinledger_projector using (true) with check (true)',
            v_table || '_projector', v_table);
        execute format('grant select, insert, update, delete, truncate on views.%I to kinledger_projector', v_table);
        -- A replay copies the form of the tables that it folds into; no policy shows it a row.
        execute format('grant select on views.%I to kinledger_replayer', v_table);
    end loop;
end
$$;
