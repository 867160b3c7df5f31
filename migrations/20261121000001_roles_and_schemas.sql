-- Roles and schemas. Roles belong to the whole server and several databases may be migrated at once, so each is made only
-- when it is missing, and losing that race is no error.
do $$
declare
    name text;
begin
    foreach name in array array['kinledger_writer', 'kinledger_projector', 'kinledger_reader', 'kinledger_relay'] loop
        if not exists (select from pg_roles where rolname = name) then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
        if not pg_has_role(current_user, name, 'member') or not (select rolsuper from pg_roles where rolname = current_user) then
            begin
                execute format('grant %I to current_user', name);
            exception when unique_violation then
                null;
            end;
        end if;
    end loop;
end
$$;

create schema if not exists log;
create schema if not exists identity;
create schema if not exists views;

revoke all on schema log, identity, views from public;
grant usage on schema log to kinledger_writer, kinledger_projector, kinledger_relay;
grant usage on schema identity to kinledger_writer, kinledger_projector, kinledger_reader;
grant usage on schema views to kinledger_projector, kinledger_reader;
