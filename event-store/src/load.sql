-- The head of a family (stream_number 0) and the events of some of its streams (1, 2 … in the order they were asked for).
select
    0::bigint as stream_number,
    0::bigint as sequence,
    h.family_seq,
    h.chain_hash,
    null::text as event_type,
    null::text as event_version,
    null::text as payload
from (
    select e.family_seq, e.chain_hash
    from log.events e
    where e.lane = $1 and e.family_id = $2
    order by e.family_seq desc
    limit 1
) h
union all
select
    s.stream_number,
    e.sequence,
    e.family_seq,
    null,
    e.event_type,
    e.event_version,
    e.payload::text
from unnest($3::text[], $4::text[]) with ordinality as s (kind, id, stream_number)
join log.events e
    on e.lane = $1 and e.family_id = $2 and e.aggregate_type = s.kind and e.aggregate_id = s.id
order by stream_number, sequence
