//! No table about accounts is forgotten by what a person takes with them.

use std::collections::BTreeSet;

use super::App;

/// Tables of identity that name an account and hold what is over in minutes, so that no export has it.
const OVER_IN_MINUTES: &[&str] = &["pairings", "passkey_challenges", "pending_sign_ins", "provider_flows"];

/// The statements of the export.
const EXPORT: &str = include_str!("../../../src/person/account.rs");

#[tokio::test]
async fn every_table_that_names_an_account_is_in_its_persons_export_or_over_in_minutes() {
    let app = App::start().await;
    let pool = app.database.superuser().await;
    let tables: Vec<(String,)> = sqlx::query_as(
        "select distinct t.relname::text
         from pg_attribute as a
         join pg_class as t on t.oid = a.attrelid and t.relkind = 'r'
         where t.relnamespace = 'identity'::regnamespace
             and a.attname in ('user_id', 'created_by', 'used_by', 'actor_id', 'paired_by')
             and not a.attisdropped
         order by 1",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    pool.close().await;
    let tables: BTreeSet<&str> = tables.iter().map(|(table,)| table.as_str()).collect();
    assert!(tables.len() >= 14, "{tables:?}");
    for table in &tables {
        let is_exported =
            EXPORT.contains(&format!("identity.{table} ")) || EXPORT.contains(&format!("identity.{table}\n"));
        let is_short = OVER_IN_MINUTES.contains(table);
        assert!(
            is_exported != is_short,
            "identity.{table} names an account: give it a section in command-api/src/person/account.rs, or say here that it is over in minutes"
        );
    }
    assert!(OVER_IN_MINUTES.iter().all(|table| tables.contains(table)));
    app.end().await;
}
