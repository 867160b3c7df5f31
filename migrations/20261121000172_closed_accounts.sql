-- An account is closed: what is the person's goes at once, in one statement that can do nothing else.
--
-- What names an account is found by the keys that lead to it, so a table that is added later is not forgotten. Sessions stay for
-- their month, without words, so that every process learns that they ended; with the last of them the account's number goes.

alter table identity.users
    add column closed_at timestamptz,
    add constraint users_closed_keep_nothing check (closed_at is null or (email is null and password_hash is null));

create index users_closed_at_idx on identity.users (closed_at) where closed_at is not null;

comment on column identity.users.closed_at is 'when the person closed the account; nothing of theirs is in the row since then';

create function identity.close_account(p_user_id uuid) returns setof uuid
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
            and k.conrelid <> 'identity.sessions'::regclass
    loop
        if v_key.is_set_null then
            execute format('update %s set %I = null where %2$I = $1', v_key.of_table, v_key.of_column) using p_user_id;
        else
            execute format('delete from %s where %I = $1', v_key.of_table, v_key.of_column) using p_user_id;
        end if;
    end loop;

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

create function identity.forget_closed_accounts(at_most integer) returns bigint
    language sql
    security definer
    set search_path = pg_catalog
as $$
    with gone as (
        delete from identity.users
        where user_id in (
            select closed.user_id
            from identity.users as closed
            where closed.closed_at < clock_timestamp() - interval '30 days'
                and not exists (select 1 from identity.sessions where sessions.user_id = closed.user_id)
            order by closed.closed_at
            limit least(at_most, 10000)
        )
        returning 1
    )
    select count(*) from gone
$$;

revoke all on function identity.close_account(uuid) from public;
revoke all on function identity.forget_closed_accounts(integer) from public;
grant execute on function identity.close_account(uuid) to kinledger_writer;
grant execute on function identity.forget_closed_accounts(integer) to kinledger_writer;

-- What is over is forgotten after its term (docs/privacy.md).
grant delete on identity.api_keys, identity.paired_devices to kinledger_writer;
