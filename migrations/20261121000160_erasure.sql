-- Erasure: the append that records it destroys the keys.
--
-- In one transaction with the event, so that there is no moment at which somebody is erased and their texts can still be opened,
-- whatever dies when; and whoever reads the event knows that the keys are gone. docs/adr/0037-erasure.md has the choice.

-- The register of erasures outside the database asks for what is new.
create index member_keys_by_erasure on keys.member_keys (erased_at) where erased_at is not null;

-- In the schema of the log: a copy may leave the schema of the keys out, and its events still have their trigger.
create function log.destroy_keys() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    -- A public id is the kind, an underscore, and the UUID.
    v_subject constant uuid := case new.event_type
        when 'FamilyDeleted' then new.family_id
        else split_part(new.payload ->> 'member_id', '_', 2)::uuid
    end;
begin
    update keys.member_keys k
    set wrapped_key = null, kek_id = null, erased_at = clock_timestamp()
    where k.family_id = new.family_id
        and (k.subject_id = v_subject or new.event_type = 'FamilyDeleted')
        and k.erased_at is null;
    -- Who never had a key never gets one.
    insert into keys.member_keys (family_id, subject_id, erased_at)
    values (new.family_id, v_subject, clock_timestamp())
    on conflict do nothing;
    -- Processes that keep keys in memory forget them.
    update keys.changes set epoch = epoch + 1;
    return null;
end
$$;
revoke all on function log.destroy_keys() from public;

create trigger erasures_destroy_keys after insert on log.events
    for each row when (new.aggregate_type = 'family' and new.event_type in ('MemberErased', 'FamilyDeleted'))
    execute function log.destroy_keys();
