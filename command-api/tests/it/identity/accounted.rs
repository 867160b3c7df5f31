//! No table, and no column of one, that names an account is forgotten by what a person takes with them.

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
    // Whatever the database holds to an account, and what names one that may be gone.
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select t.relname::text, a.attname::text
         from pg_constraint as k
         join pg_class as t on t.oid = k.conrelid
         join pg_attribute as a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)
         where k.contype = 'f' and k.confrelid = 'identity.users'::regclass
         union
         select t.relname::text, a.attname::text
         from pg_attribute as a
         join pg_class as t on t.oid = a.attrelid and t.relkind = 'r'
         where t.relnamespace = 'identity'::regnamespace
             and (a.attname in ('user_id', 'actor_id') or a.attname ~ '_(by|user|account)$' and a.atttypid = 'uuid'::regtype)
             and not a.attisdropped
         order by 1, 2",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    pool.close().await;
    let tables: BTreeSet<&str> = columns.iter().map(|(table, _)| table.as_str()).collect();
    assert!(tables.len() >= 17 && columns.len() >= 21, "{columns:?}");
    let statements: Vec<&str> = EXPORT.split("sql: \"").skip(1).collect();
    for (table, column) in &columns {
        let from = [format!("identity.{table} "), format!("identity.{table}\n")];
        let is_asked = |statement: &&str| {
            from.iter().any(|from| statement.contains(from)) && statement.contains(&format!("{column} = $1"))
        };
        let is_exported = statements.iter().any(is_asked);
        let is_short = OVER_IN_MINUTES.contains(&table.as_str());
        assert!(
            is_exported != is_short,
            "identity.{table}.{column} names an account: give it a section in command-api/src/person/account.rs, or say here that it is over in minutes"
        );
    }
    assert!(OVER_IN_MINUTES.iter().all(|table| tables.contains(table)));
    app.end().await;
}
