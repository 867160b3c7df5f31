-- What names the family; what is about the accounts of those of whom everything is told, since they joined; and what is about
-- everybody. Each by its own index, and each event in one of the three.
with found as (
    (
        select event_id
        from identity.security_events
        where family_id = $1
            and occurred_at >= $3
            and occurred_at <= coalesce($2, 'infinity')
            and kind <> all($8)
            and (user_id is null or user_id = any($5) or kind = any($7))
        order by occurred_at desc, event_id desc
        limit $4
    )
    union all
    (
        select event.event_id
        from unnest($5::uuid[], $6::timestamptz[]) as person (user_id, since)
        cross join lateral (
            select event_id
            from identity.security_events
            where user_id = person.user_id
                and family_id is null
                and occurred_at >= greatest($3, person.since)
                and occurred_at <= coalesce($2, 'infinity')
            order by occurred_at desc, event_id desc
            limit $4
        ) as event
    )
    union all
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
    event.user_id,
    event.actor_id,
    case
        when paired.name is null then event.detail
        else event.detail || jsonb_build_object('device', paired.name)
    end as detail
from found
join identity.security_events as event on event.event_id = found.event_id
left join identity.paired_devices as paired on paired.device_id = (event.detail ->> 'device_id')::uuid
order by event.occurred_at desc, event.event_id desc
limit $4
