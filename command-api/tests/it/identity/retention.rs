//! What is over is forgotten after its term, and nothing before it.

use std::collections::{BTreeMap, BTreeSet};

use command_api::identity::{Identity, Secret};
use metrics_exporter_prometheus::PrometheusBuilder;
use service_kit::database::DatabaseRole;
use sqlx::PgPool;

use super::{App, quick};

/// One row of every kind for each of two ages: a day before its term is over, and a day after it.
const ROWS: &str = r"
do $$
declare
    v_user uuid;
    v_session uuid;
    v_device uuid;
    v_paired uuid;
    v_age record;
begin
    insert into identity.users (user_id, display_name) values (gen_random_uuid(), 'Keeper') returning user_id into v_user;
    for v_age in
        select * from (values
            ('1 minute'::interval, '23 hours'::interval, '29 days'::interval, '395 days'::interval, '399 days'::interval, 0),
            ('-1 minute', '25 hours', '31 days', '397 days', '401 days', 2)
        ) as age (soon, day, month, year, cookie, days)
    loop
        insert into identity.pairings (pairing_id, secret_hash, code_hash, family_id, member_id, created_by, expires_at)
        values (gen_random_uuid(), sha256(random()::text::bytea), sha256(random()::text::bytea), gen_random_uuid(),
            gen_random_uuid(), v_user, clock_timestamp() + v_age.soon);
        insert into identity.passkey_challenges (challenge_hash, purpose, user_id, expires_at)
        values (sha256(random()::text::bytea), 'prove', v_user, clock_timestamp() + v_age.soon);
        insert into identity.provider_flows (state_hash, binding_hash, provider, expires_at)
        values (sha256(random()::text::bytea), sha256(random()::text::bytea), 'x', clock_timestamp() + v_age.soon);
        insert into identity.phone_codes (challenge_hash, code_hash, number_hash, asker_hash, created_at, expires_at)
        values (sha256(random()::text::bytea), sha256(random()::text::bytea), sha256(random()::text::bytea),
            sha256(random()::text::bytea), clock_timestamp() - v_age.day, clock_timestamp() - v_age.day + interval '5 minutes');
        insert into identity.pending_sign_ins (token_hash, user_id, proven_by, expires_at)
        values (sha256(random()::text::bytea), v_user, array['pwd'], clock_timestamp() + v_age.soon);
        insert into identity.guesses (guessed_at, day, guesses)
        values (sha256(random()::text::bytea), (clock_timestamp() at time zone 'UTC')::date - v_age.days, 1);
        insert into identity.mail_tokens (token_hash, purpose, user_id, email, expires_at)
        values (sha256(random()::text::bytea), 'verify-email', v_user, 'ada@example.org', clock_timestamp() - v_age.day);
        insert into identity.sessions (session_id, user_id, device, created_at, expires_at, revoked_at, revoke_reason)
        values (gen_random_uuid(), v_user, 'x', clock_timestamp() - interval '60 days', clock_timestamp() + interval '1 day',
            clock_timestamp() - v_age.month, 'ended');
        insert into identity.invitations (code_hash, family_id, member_id, created_by, expires_at)
        values (sha256(random()::text::bytea), gen_random_uuid(), gen_random_uuid(), v_user, clock_timestamp() - v_age.month);
        insert into identity.api_keys (api_key_id, key_hash, user_id, name, scopes, created_at, expires_at, ended_at)
        values (gen_random_uuid(), sha256(random()::text::bytea), v_user, 'x', array['read'], clock_timestamp() - interval '60 days',
            clock_timestamp() + interval '9 days', clock_timestamp() - v_age.month);
        insert into identity.paired_devices (device_id, user_id, family_id, member_id, name, algorithm, public_key, revoked_at)
        values (gen_random_uuid(), v_user, gen_random_uuid(), gen_random_uuid(), 'x', 'ed25519',
            sha256(random()::text::bytea), clock_timestamp() - v_age.month)
        returning device_id into v_paired;
        insert into identity.device_challenges (challenge_hash, device_id, expires_at)
        values (sha256(random()::text::bytea), v_paired, clock_timestamp() + v_age.soon);
        insert into identity.devices (device_id, user_id, token_hash, name, last_used_at)
        values (gen_random_uuid(), v_user, sha256(random()::text::bytea), 'x', clock_timestamp() - v_age.cookie);
        insert into identity.security_events (kind, user_id, occurred_at)
        values ('signed-in', v_user, clock_timestamp() - v_age.year);
        insert into identity.users (user_id, display_name, closed_at)
        values (gen_random_uuid(), 'closed account', clock_timestamp() - v_age.month);
    end loop;
end
$$";

/// Every term there is, and the table whose rows it removes.
const TERMS: [(&str, &str); 15] = [
    ("api-keys", "api_keys"),
    ("closed-accounts", "users"),
    ("device-challenges", "device_challenges"),
    ("devices", "devices"),
    ("guesses", "guesses"),
    ("invitations", "invitations"),
    ("mail-tokens", "mail_tokens"),
    ("paired-devices", "paired_devices"),
    ("pairings", "pairings"),
    ("passkey-challenges", "passkey_challenges"),
    ("pending-sign-ins", "pending_sign_ins"),
    ("phone-codes", "phone_codes"),
    ("provider-flows", "provider_flows"),
    ("security-events", "security_events"),
    ("sessions", "sessions"),
];

async fn counts(pool: &PgPool) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for (_, table) in TERMS {
        let (count,): (i64,) = sqlx::query_as(&format!("select count(*) from identity.{table}"))
            .fetch_one(pool)
            .await
            .unwrap();
        counts.insert(table.to_owned(), count);
    }
    counts
}

/// The terms that a round counted what it removed by.
fn told(figures: &str) -> BTreeSet<String> {
    let of = figures
        .lines()
        .filter_map(|line| line.strip_prefix("kinledger_identity_forgotten_total{of=\""));
    of.filter_map(|rest| rest.split_once('"').map(|(of, _)| of.to_owned()))
        .collect()
}

#[tokio::test]
async fn each_kind_is_kept_for_its_term_and_not_a_day_longer() {
    let app = App::start().await;
    let everything = app.database.superuser().await;
    sqlx::raw_sql(ROWS).execute(&everything).await.unwrap();
    let before = counts(&everything).await;
    for (table, count) in &before {
        let wanted = if table == "users" { 3 } else { 2 };
        assert_eq!(*count, wanted, "{table}: {before:?}");
    }
    let writer = app.database.pool(DatabaseRole::Identity).await;
    let identity = Identity::open(writer, &Secret::new([7; 32]), &quick(), app.places.clone())
        .await
        .unwrap();
    // A test has one thread: what is counted on it is this round's.
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let counting = metrics::set_default_local_recorder(&recorder);
    // The first round removes the last sessions of a closed account, if it has any, and the second its number.
    for _ in 0..2 {
        identity.forget_what_is_over().await;
        let after = counts(&everything).await;
        for (table, count) in &after {
            let wanted = if table == "users" { 2 } else { 1 };
            assert_eq!(*count, wanted, "{table}: {after:?}");
        }
    }
    drop(counting);
    let tried: BTreeSet<String> = TERMS.iter().map(|(of, _)| (*of).to_owned()).collect();
    assert_eq!(
        told(&figures.render()),
        tried,
        "a term of identity/retention.rs is not tried here"
    );
    everything.close().await;
    app.end().await;
}
