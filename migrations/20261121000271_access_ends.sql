-- What paired devices have opened stands on who belongs to a family and on who sees which account. Until now only the first was told
-- of many families at once, by the end of each family's own stream: a pocket that was hidden from who answers for its owner's device
-- changed nothing there. Now one number tells both, at the cost of two looks into an index a family, however long its history is.
create function log.access_ends(p_lanes smallint[], p_families uuid[]) returns table (family_id uuid, family_seq bigint)
    language sql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
    select
        f.family_id,
        coalesce(
            greatest(
                (
                    select e.family_seq
                    from log.events as e
                    where e.lane = f.lane and e.aggregate_type = 'family' and e.aggregate_id = f.family_id::text
                    order by e.sequence desc
                    limit 1
                ),
                -- In the words of the index events_sharing.
                (
                    select e.family_seq
                    from log.events as e
                    where e.lane = f.lane
                        and e.family_id = f.family_id
                        and e.aggregate_type = 'ledger-account'
                        and e.event_type in ('AccountOpened', 'AccountShared')
                    order by e.family_seq desc
                    limit 1
                )
            ),
            0
        )
    from unnest(p_lanes, p_families) as f (lane, family_id)
$$;

revoke all on function log.access_ends(smallint[], uuid[]) from public;
grant execute on function log.access_ends(smallint[], uuid[]) to kinledger_writer;

drop function log.stream_ends(text, smallint[], uuid[]);
