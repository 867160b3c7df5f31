//! What identity keeps of an account, each kind of thing a section. Hashes, seeds and keys are not among it; that they are there is.

use super::form::Section;

/// A section, and the statement that gives its rows as JSON objects for `$1`, the account.
pub(super) struct AccountSection {
    pub section: Section,
    pub sql: &'static str,
}

/// Where a row has the account's phone number as it is sealed; `number` takes its place.
pub(super) const SEALED_NUMBER: &str = "sealed_number";

/// Every section, in the order of the file. What the events of the trail say beside their kind is read by `told`.
pub(super) static SECTIONS: &[AccountSection] = &[
    AccountSection {
        section: Section {
            name: "account",
            heading: "Your account",
            columns: &["email", "email_verified_at", "display_name", "locale", "created_at", "password_changed_at"],
        },
        sql: "select json_build_object(
                 'user_id', 'usr_' || user_id, 'email', email, 'email_verified_at', email_verified_at,
                 'display_name', display_name, 'locale', locale, 'created_at', created_at,
                 'has_password', password_hash is not null, 'password_changed_at', password_changed_at)
             from identity.users where user_id = $1",
    },
    AccountSection {
        section: Section {
            name: "sessions",
            heading: "Where you are and were signed in",
            columns: &["device", "created_at", "last_used_at", "expires_at", "ended_at", "proven_by"],
        },
        sql: "select json_build_object(
                 'session_id', session_id, 'device', device, 'device_id', device_id, 'created_at', created_at,
                 'last_used_at', last_used_at, 'expires_at', expires_at, 'ended_at', revoked_at, 'ended_because', revoke_reason,
                 'proven_at', proven_at, 'proven_by', proven_by, 'has_address_hash', address_hash is not null)
             from identity.sessions where user_id = $1 order by created_at",
    },
    AccountSection {
        section: Section {
            name: "devices",
            heading: "Your devices",
            columns: &["name", "created_at", "last_used_at"],
        },
        sql: "select json_build_object(
                 'device_id', device_id, 'name', name, 'created_at', created_at, 'last_used_at', last_used_at)
             from identity.devices where user_id = $1 order by created_at",
    },
    AccountSection {
        section: Section {
            name: "paired_devices",
            heading: "Devices that a parent paired",
            columns: &["name", "created_at", "last_used_at", "passkey_added_at", "ended_at"],
        },
        sql: "select json_build_object(
                 'device_id', device_id, 'family_id', 'fam_' || family_id, 'member_id', 'mem_' || member_id, 'name', name,
                 'algorithm', algorithm, 'created_at', device.created_at, 'last_used_at', device.last_used_at,
                 'passkey_added_at', passkey.created_at, 'passkey_last_used_at', passkey.last_used_at, 'ended_at', revoked_at)
             from identity.paired_devices as device
             left join identity.paired_device_passkeys as passkey using (device_id)
             where user_id = $1 order by device.created_at",
    },
    AccountSection {
        section: Section {
            name: "answers_for",
            heading: "Devices of others that you answer for",
            columns: &["family_id", "member_id", "paired_at"],
        },
        // Whose it is, and no more: what they call it and when they use it is theirs.
        sql: "select json_build_object(
                 'family_id', 'fam_' || family_id, 'member_id', 'mem_' || member_id, 'paired_at', created_at)
             from identity.paired_devices where paired_by = $1 order by created_at",
    },
    AccountSection {
        section: Section {
            name: "factors",
            heading: "Your second factors",
            columns: &["kind", "name", "created_at", "last_used_at"],
        },
        sql: "select json_build_object(
                 'kind', kind, 'name', name, 'created_at', created_at, 'last_used_at', last_used_at)
             from (
                 select 'totp' as kind, null as name, created_at, null::timestamptz as last_used_at
                 from identity.totp_factors where user_id = $1
                 union all
                 select 'passkey', name, created_at, last_used_at from identity.passkeys where user_id = $1
                 union all
                 select 'recovery-code', null, created_at, used_at from identity.recovery_codes where user_id = $1
             ) as factor
             order by created_at",
    },
    AccountSection {
        section: Section {
            name: "linked_sign_ins",
            heading: "Accounts elsewhere that you sign in with",
            columns: &["provider", "linked_at", "last_used_at"],
        },
        sql: "select json_build_object('provider', provider, 'linked_at', linked_at, 'last_used_at', last_used_at)
             from identity.linked_sign_ins where user_id = $1 order by linked_at",
    },
    AccountSection {
        section: Section {
            name: "phones",
            heading: "The phone that you sign in by",
            columns: &["number", "verified_at"],
        },
        // The key is not the database's, so the number is opened on the way.
        sql: "select json_build_object('verified_at', verified_at, 'sealed_number', encode(sealed_number, 'hex'))
             from identity.phones where user_id = $1 order by verified_at",
    },
    AccountSection {
        section: Section {
            name: "phone_codes",
            heading: "Phone numbers that you added or were about to add",
            columns: &["number", "created_at", "expires_at", "used_at"],
        },
        // Codes to sign in by are asked for by number: they name no account.
        sql: "select json_build_object(
                 'created_at', created_at, 'expires_at', expires_at, 'used_at', used_at, 'attempts', attempts,
                 'has_address_hash', address_hash is not null, 'sealed_number', encode(sealed_number, 'hex'))
             from identity.phone_codes where adds_to = $1 order by created_at",
    },
    AccountSection {
        section: Section {
            name: "api_keys",
            heading: "Your API keys",
            columns: &["name", "scopes", "created_at", "expires_at", "last_used_at", "ended_at"],
        },
        sql: "select json_build_object(
                 'api_key_id', api_key_id, 'name', name, 'scopes', scopes, 'family_id', 'fam_' || family_id,
                 'created_at', created_at, 'expires_at', expires_at, 'last_used_at', last_used_at, 'ended_at', ended_at)
             from identity.api_keys where user_id = $1 order by created_at",
    },
    AccountSection {
        section: Section {
            name: "invitations",
            heading: "Invitations you made or took",
            columns: &["family_id", "member_id", "was_made_by_you", "created_at", "expires_at", "used_at"],
        },
        sql: "select json_build_object(
                 'family_id', 'fam_' || family_id, 'member_id', 'mem_' || member_id, 'was_made_by_you', created_by = $1,
                 'was_taken_by_you', coalesce(used_by = $1, false), 'created_at', created_at, 'expires_at', expires_at,
                 'used_at', used_at)
             from identity.invitations where created_by = $1 or used_by = $1 or for_account = $1 order by created_at",
    },
    AccountSection {
        section: Section {
            name: "mails",
            heading: "Mails with a code that still counts",
            columns: &["purpose", "email", "created_at", "expires_at", "used_at"],
        },
        sql: "select json_build_object(
                 'purpose', purpose, 'email', email, 'created_at', created_at, 'expires_at', expires_at, 'used_at', used_at)
             from identity.mail_tokens where user_id = $1 order by created_at",
    },
    AccountSection {
        section: Section {
            name: "security_events",
            heading: "What happened to your access",
            columns: &["at", "kind", "detail", "family_id"],
        },
        // What somebody else did to them is told without the words about that other's device.
        sql: "select json_build_object(
                 'at', occurred_at, 'kind', kind, 'family_id', 'fam_' || family_id, 'session_id', session_id,
                 'is_by_another', coalesce(actor_id <> $1, false), 'is_about_another', coalesce(user_id <> $1, false),
                 'has_address_hash', address_hash is not null,
                 'detail', case when coalesce(user_id, $1) = $1 then detail end)
             from identity.security_events where user_id = $1 or actor_id = $1 order by occurred_at, event_id",
    },
];
