//! Bank connections, with what the bank's own statements add up to.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    aggregate::LedgerEvent,
    bank_connection::{BankConnectionEvent, BankLedger},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projection::{Fact, Projection, ProjectionError, reached};

/// Which provider feeds which account, and how far.
pub struct BankConnections;

#[async_trait]
impl Projection for BankConnections {
    fn name(&self) -> &'static str {
        "bank_connections"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["bank_connections"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        connect(facts, tx).await?;
        follow(facts, tx).await
    }
}

async fn connect(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut ids, mut accounts) = (vec![], vec![], vec![]);
    let (mut providers, mut institutions, mut at) = (vec![], vec![], vec![]);
    for fact in facts {
        if let LedgerEvent::BankConnection(BankConnectionEvent::BankConnected(connected)) = &fact.event {
            families.push(fact.family());
            ids.push(connected.connection_id.uuid());
            accounts.push(connected.account_id.uuid());
            providers.push(connected.provider.as_str());
            institutions.push(connected.institution.as_str());
            at.push(fact.record.recorded_at);
        }
    }
    if families.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into bank_connections
            (family_id, connection_id, account_id, provider, institution, connected_at, is_proved)
        select *, false
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[])",
    )
    .bind(families)
    .bind(ids)
    .bind(accounts)
    .bind(providers)
    .bind(institutions)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

/// The latest state of a connection within the batch; undoing an import leaves the time of the last sync alone.
#[derive(Default)]
struct Followed {
    synced_at: Option<DateTime<Utc>>,
    ledger: Option<BankLedger>,
}

async fn follow(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut followed: BTreeMap<(Uuid, Uuid), Followed> = BTreeMap::new();
    for fact in facts {
        match &fact.event {
            LedgerEvent::BankConnection(BankConnectionEvent::BankSynced(synced)) => {
                let row = followed
                    .entry((fact.family(), synced.connection_id.uuid()))
                    .or_default();
                row.synced_at = Some(fact.record.recorded_at);
                row.ledger = synced.ledger.clone();
            }
            LedgerEvent::BankConnection(BankConnectionEvent::BankSyncUndone(undone)) => {
                let row = followed
                    .entry((fact.family(), undone.connection_id.uuid()))
                    .or_default();
                row.ledger = undone.ledger.clone();
            }
            _ => {}
        }
    }
    if followed.is_empty() {
        return Ok(());
    }
    let (mut families, mut ids, mut synced, mut balances) = (vec![], vec![], vec![], vec![]);
    let (mut currencies, mut firsts, mut lasts, mut proved) = (vec![], vec![], vec![], vec![]);
    for ((family, id), row) in followed {
        let ledger = row.ledger;
        families.push(family);
        ids.push(id);
        synced.push(row.synced_at);
        balances.push(ledger.as_ref().map(|ledger| ledger.balance.amount()));
        currencies.push(
            ledger
                .as_ref()
                .map(|ledger| ledger.balance.currency().code().to_owned()),
        );
        firsts.push(ledger.as_ref().map(|ledger| ledger.first_on));
        lasts.push(ledger.as_ref().map(|ledger| ledger.last_on));
        proved.push(ledger.is_some_and(|ledger| ledger.is_proved));
    }
    let wanted = ids.len();
    let done = sqlx::query(
        "update bank_connections b
        set synced_at = coalesce(f.synced_at, b.synced_at),
            bank_balance = f.bank_balance,
            currency = f.currency,
            first_on = f.first_on,
            last_on = f.last_on,
            is_proved = f.is_proved
        from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::numeric[], $5::text[], $6::date[], $7::date[],
                $8::boolean[])
            as f (family_id, connection_id, synced_at, bank_balance, currency, first_on, last_on, is_proved)
        where b.family_id = f.family_id
            and b.connection_id = f.connection_id",
    )
    .bind(families)
    .bind(ids)
    .bind(synced)
    .bind(balances)
    .bind(currencies)
    .bind(firsts)
    .bind(lasts)
    .bind(proved)
    .execute(tx)
    .await?;
    reached(&done, wanted, "a bank connection")
}
