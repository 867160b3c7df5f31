-- What is about a person, what they did to others, and what is about everybody; each of the three by its own index.
with found as (
    (
        select event_id
        from identity.security_events
        where user_id = $1
            and occurred_at >= $3
            and occurred_at <= coalesce($2, 'infinity')
        order by occurred_at desc, event_id desc
        limit $4
    )
    union
    (
        select event_id
        from identity.security_events
        where actor_id = $1
            and occurred_at >= $3
            and occurred_at <= coalesce($2, 'infinity')
        order by occurred_at desc, event_id desc
        limit $4
    )
    union
    (
        select event_id
        from identity.security_events
        where user_id is null
            and family_id is null
            and occurred_at >= $3
            and occurred_at <= coalesce($2, 'infinity')
        order by occurred_at desc, event_id desc
        limit $4
    )
)
select
    event.event_id,
    event.occurred_at,
    event.kind,
    event.family_id,
    coalesce(event.actor_id <> $1, false) as is_by_another,
    coalesce(event.actor_id = $1 and event.user_id <> $1, false) as is_about_another,
    coalesce(event.session_id = $5, false) as is_this_session,
    coalesce(event.address_hash = $6, false) as is_this_address,
    case
        when paired.name is null then event.detail
        else event.detail || jsonb_build_object('device', paired.name)
    end as detail
from found
join identity.security_events as event on event.event_id = found.event_id
left join identity.paired_devices as paired on paired.device_id = (event.detail ->> 'device_id')::uuid
order by event.occurred_at desc, event.event_id desc
limit $4
