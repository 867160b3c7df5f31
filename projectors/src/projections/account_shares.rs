//! What was last said, and by whom, of who may do what with an account. Unsaid levels have no row: they follow from owner and role, which
//! `domain::ledger_account::Held` knows.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, ledger_account::LedgerAccountEvent};
use sqlx::PgConnection;

use crate::projection::{Fact, Projection, ProjectionError};

/// One row per account and member of whom something was said.
pub struct AccountShares;

#[async_trait]
impl Projection for AccountShares {
    fn name(&self) -> &'static str {
        "account_shares"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["account_shares"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let mut said = BTreeMap::new();
        for fact in facts {
            if let LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountShared(shared)) = &fact.event {
                let key = (fact.family(), shared.account_id.uuid(), shared.member_id.uuid());
                said.insert(key, (shared.level.as_str(), shared.by.map(|by| by.uuid())));
            }
        }
        if said.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into account_shares (family_id, account_id, member_id, level, said_by)
            select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[])
            on conflict (family_id, account_id, member_id) do update
            set level = excluded.level, said_by = excluded.said_by",
        )
        .bind(said.keys().map(|(family, _, _)| *family).collect::<Vec<_>>())
        .bind(said.keys().map(|(_, account, _)| *account).collect::<Vec<_>>())
        .bind(said.keys().map(|(_, _, member)| *member).collect::<Vec<_>>())
        .bind(said.values().map(|(level, _)| *level).collect::<Vec<_>>())
        .bind(said.values().map(|(_, by)| *by).collect::<Vec<_>>())
        .execute(tx)
        .await?;
        Ok(())
    }
}
