-- An account's life: its address is verified and may change, its password may be reset by mail.

alter table identity.users
    add column email_verified_at timestamptz,
    add column locale text not null default 'en',
    add constraint users_locale_form check (
        length(locale) between 2 and 35 and locale ~ '^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$'
    );

comment on column identity.users.email_verified_at is 'when somebody proved to read mail at this address; null when nobody did';
comment on column identity.users.locale is 'BCP 47 tag, such as de-AT';

grant update (email, email_verified_at, display_name, locale, password_changed_at) on identity.users to kinledger_writer;

-- What a mail carries: 256 random bits, of which the SHA-256 is kept, for one purpose, one person, one address and one use.
create table identity.mail_tokens (
    token_hash bytea not null,
    purpose text not null,
    user_id uuid not null,
    email text not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    used_at timestamptz,
    constraint mail_tokens_pkey primary key (token_hash),
    constraint mail_tokens_user_fkey foreign key (user_id) references identity.users (user_id) on delete cascade,
    constraint mail_tokens_hash_length check (octet_length(token_hash) = 32),
    constraint mail_tokens_purpose_known check (purpose in ('verify-email', 'change-email', 'reset-password')),
    constraint mail_tokens_email_form check (email = lower(email collate "C") and length(email) between 3 and 254)
);

create index mail_tokens_user_idx on identity.mail_tokens (user_id, purpose, created_at);
create index mail_tokens_expires_at_idx on identity.mail_tokens (expires_at);

revoke all on identity.mail_tokens from public;
alter table identity.mail_tokens enable row level security;
alter table identity.mail_tokens force row level security;
create policy mail_tokens_writer on identity.mail_tokens for all to kinledger_writer using (true) with check (true);
grant select, insert, delete on identity.mail_tokens to kinledger_writer;
grant update (used_at) on identity.mail_tokens to kinledger_writer;
