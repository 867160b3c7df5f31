-- The trail of security events is read by pages, the newest first: by the person it is about, by who did it, by the family it
-- concerns, and what is about the whole installation.

create index security_events_user_page on identity.security_events (user_id, occurred_at desc, event_id desc)
    where user_id is not null;
create index security_events_actor_page on identity.security_events (actor_id, occurred_at desc, event_id desc)
    where actor_id is not null;
create index security_events_family_page on identity.security_events (family_id, occurred_at desc, event_id desc)
    where family_id is not null;
create index security_events_installation_page on identity.security_events (occurred_at desc, event_id desc)
    where user_id is null and family_id is null;

drop index identity.security_events_user_idx;
drop index identity.security_events_family_idx;
