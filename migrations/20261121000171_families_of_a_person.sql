-- In which families somebody has or had a place: for their export, and for closing their account. Joins are rare among events.

create index events_joined_by_user on log.events ((payload ->> 'user_id')) where event_type = 'MemberJoined';
