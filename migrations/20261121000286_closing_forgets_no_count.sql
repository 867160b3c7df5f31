-- Who closes an account and opens another asks for no more messages than before: what limits how many are sent to add phones is counted
-- from codes, which go a day later anyway. Everything else is as it was.
create or replace function identity.close_account(p_user_id uuid) returns setof uuid
    language plpgsql
    security definer
    set search_path = pg_catalog
as $$
declare
    v_key record;
begin
    perform 1
    from identity.users
    where user_id = p_user_id and closed_at is null
    for update;
    if not found then
        return;
    end if;

    delete from identity.invitations
    where created_by = p_user_id or used_by = p_user_id;

    return query
    update identity.sessions
    set device = 'closed account',
        address_hash = null,
        revoked_at = coalesce(revoked_at, clock_timestamp()),
        revoke_reason = coalesce(revoke_reason, 'account-closed')
    where user_id = p_user_id
    returning session_id;

    delete from identity.refresh_tokens as token
    using identity.sessions as session
    where session.session_id = token.session_id and session.user_id = p_user_id;

    for v_key in
        select k.conrelid::regclass as of_table, a.attname as of_column, k.confdeltype = 'n' as is_set_null
        from pg_constraint as k
        join pg_attribute as a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
        where k.contype = 'f'
            and k.confrelid = 'identity.users'::regclass
            and k.conrelid <> all (array['identity.sessions', 'identity.phone_codes']::regclass[])
    loop
        if v_key.is_set_null then
            execute format('update %s set %I = null where %2$I = $1', v_key.of_table, v_key.of_column) using p_user_id;
        else
            execute format('delete from %s where %I = $1', v_key.of_table, v_key.of_column) using p_user_id;
        end if;
    end loop;

    -- Without number and use, for the day that they are counted for.
    update identity.phone_codes
    set sealed_number = decode(repeat('00', 29), 'hex'),
        used_at = coalesce(used_at, clock_timestamp())
    where adds_to = p_user_id;

    -- What concerned a family is that family's to know; about whom and by which word of a list is enough.
    delete from identity.security_events
    where user_id = p_user_id and family_id is null;
    update identity.security_events
    set detail = detail - 'device' - 'name',
        address_hash = null,
        session_id = null
    where user_id = p_user_id;
    update identity.security_events
    set address_hash = null,
        session_id = null
    where actor_id = p_user_id;
    insert into identity.security_events (kind, user_id)
    values ('account-closed', p_user_id);

    update identity.users
    set email = null,
        email_verified_at = null,
        password_hash = null,
        display_name = 'closed account',
        locale = 'en',
        closed_at = clock_timestamp()
    where user_id = p_user_id;
end
$$;
