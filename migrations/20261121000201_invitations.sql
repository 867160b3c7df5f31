-- Invitations are named, listed and taken back, and may be sent to an address: a keyed hash of it tells it again, and its first
-- letter with its host is what parents see.
alter table identity.invitations
    add column invitation_id uuid not null default gen_random_uuid(),
    add column role text,
    add column made_from uuid,
    add column sent_to bytea,
    add column sent_to_shown text,
    add column ended_at timestamptz,
    add column end_reason text,
    add constraint invitations_id_unique unique (invitation_id),
    add constraint invitations_role_length check (length(role) between 1 and 40),
    add constraint invitations_sent_to_length check (octet_length(sent_to) = 32),
    add constraint invitations_sent_to_shown_length check (length(sent_to_shown) between 1 and 300),
    add constraint invitations_sent_to_is_shown check ((sent_to is null) = (sent_to_shown is null)),
    add constraint invitations_ended_with_reason check ((ended_at is null) = (end_reason is null)),
    add constraint invitations_end_reason_known check (end_reason in ('revoked', 'replaced', 'maker-gone')),
    add constraint invitations_ended_unused check (ended_at is null or used_at is null);

comment on column identity.invitations.made_from is 'the place of who made it: it ends when they are in it no longer';
comment on column identity.invitations.sent_to is 'keyed hash of the address: only an account that has verified it may use the code';

create index invitations_family_idx on identity.invitations (family_id, created_at);
create index invitations_sent_to_idx on identity.invitations (sent_to, created_at) where sent_to is not null;
create index invitations_created_at_idx on identity.invitations (created_at);

grant update (ended_at, end_reason) on identity.invitations to kinledger_writer;
