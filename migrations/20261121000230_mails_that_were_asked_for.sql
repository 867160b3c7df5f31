-- What a mail shows about who reads it, and whose requests it is counted with.

alter table identity.mail_tokens
    -- A token that an operator handed over shows nothing about who reads the address's mail.
    add column is_mailed boolean not null default true,
    -- The known device that asked for it; what anybody else asked for is counted together.
    add column asked_on uuid;
