-- What is about a family's members is read and changed in a transaction that names the family, and then nothing of another family is
-- there. Signing in cannot know the family yet: without the setting the rows are there as before. What names no family (an event
-- about an account alone, a key for all of its owner's families) is there either way.
-- docs/adr/0045-identity-and-writer-apart.md says what that holds and what it does not.
do $$
declare
    v_table name;
    v_asked constant text := '(select nullif(current_setting(''kinledger.family_id'', true), '''')::uuid)';
    v_rule text;
begin
    foreach v_table in array array['paired_devices', 'pairings', 'invitations', 'security_events', 'api_keys'] loop
        v_rule := format('%s is null or family_id = %1$s', v_asked);
        if v_table in ('security_events', 'api_keys') then
            v_rule := v_rule || ' or family_id is null';
        end if;
        execute format('drop policy %I on identity.%I', v_table || '_identity', v_table);
        execute format(
            'create policy %I on identity.%I to kinledger_identity using (%s) with check (%3$s)',
            v_table || '_identity', v_table, v_rule
        );
    end loop;
end
$$;
