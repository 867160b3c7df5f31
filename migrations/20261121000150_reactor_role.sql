-- Who brings statements reads the log to know the account they are for, and nothing else: until now that part acted in the
-- projectors' role, which may write every view.
do $$
begin
    if not exists (select from pg_roles where rolname = 'kinledger_reactor') then
        begin
            create role kinledger_reactor nologin;
        exception when duplicate_object or unique_violation then
            -- Another database's migration on this server was quicker.
            null;
        end;
    end if;
    if not pg_has_role(current_user, 'kinledger_reactor', 'member')
        or not (select rolsuper from pg_roles where rolname = current_user)
    then
        begin
            grant kinledger_reactor to current_user;
        exception when unique_violation then
            null;
        end;
    end if;
end
$$;

grant usage on schema log, identity to kinledger_reactor;
grant select on log.events, log.families, log.lanes to kinledger_reactor;
grant select on identity.public_keys, identity.revoked_sessions to kinledger_reactor;
grant execute on function identity.use_api_key(bytea) to kinledger_reactor;

create policy events_reactor on log.events for select to kinledger_reactor using (true);
create policy families_reactor on log.families for select to kinledger_reactor using (true);
