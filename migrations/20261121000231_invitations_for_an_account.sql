-- An invitation to a place that somebody has, who signs in by paired devices only: for them, and nobody else.

alter table identity.invitations
    add column for_account uuid,
    add constraint invitations_for_account_fkey foreign key (for_account) references identity.users (user_id) on delete cascade;

create index invitations_for_account_idx on identity.invitations (for_account) where for_account is not null;

comment on column identity.invitations.for_account is 'whose account gets an address and a password; none where the place is open';
