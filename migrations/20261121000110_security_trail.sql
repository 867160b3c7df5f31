-- The trail of security events tells what it is about: which family, who did it, and a few words. Append only, as before; what is
-- older than its term goes through one function that can do nothing else.

alter table identity.security_events
    add column family_id uuid,
    add column actor_id uuid,
    add column detail jsonb not null default '{}',
    add constraint security_events_detail_size check (
        jsonb_typeof(detail) = 'object' and octet_length(detail::text) <= 2000
    );

create index security_events_family_idx on identity.security_events (family_id, event_id) where family_id is not null;
create index security_events_occurred_at_idx on identity.security_events (occurred_at);

comment on column identity.security_events.user_id is 'whose access it is about';
comment on column identity.security_events.actor_id is 'who did it, when that is somebody else';
comment on column identity.security_events.family_id is 'the family it concerns; null when it is about the account alone';
comment on column identity.security_events.detail is 'names and values for people; never a secret, never an address in clear';

-- Thirteen months: a year can be compared with the one before.
create function identity.forget_old_security_events(at_most integer) returns bigint
    language sql
    security definer
    set search_path = pg_catalog
as $$
    with gone as (
        delete from identity.security_events
        where event_id in (
            select event_id
            from identity.security_events
            where occurred_at < clock_timestamp() - interval '396 days'
            order by occurred_at
            limit least(at_most, 100000)
        )
        returning 1
    )
    select count(*) from gone
$$;

revoke all on function identity.forget_old_security_events(integer) from public;
grant execute on function identity.forget_old_security_events(integer) to kinledger_writer;
