//! Statement imports: what each file brought, and whether it was taken back.
//!
//! Two events of one append tell of an import, the connection's (the counts) and the import's own (the file). They may fall
//! into different batches, so each writes its own columns, whichever comes first.

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, bank_connection::BankConnectionEvent, statement_import::StatementImportEvent};
use sqlx::PgConnection;

use crate::projection::{Fact, Projection, ProjectionError, reached};

/// One row per import.
pub struct Imports;

#[async_trait]
impl Projection for Imports {
    fn name(&self) -> &'static str {
        "imports"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["imports"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        count(facts, tx).await?;
        name_files(facts, tx).await?;
        undo(facts, tx).await
    }
}

async fn count(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut ids, mut seqs, mut connections) = (vec![], vec![], vec![], vec![]);
    let (mut accounts, mut rows, mut booked, mut known) = (vec![], vec![], vec![], vec![]);
    let mut categorised = vec![];
    let (mut zero, mut amounts, mut currencies, mut at) = (vec![], vec![], vec![], vec![]);
    for fact in facts {
        let LedgerEvent::BankConnection(BankConnectionEvent::BankSynced(synced)) = &fact.event else {
            continue;
        };
        families.push(fact.family());
        ids.push(synced.import_id.uuid());
        seqs.push(fact.record.family_seq);
        connections.push(synced.connection_id.uuid());
        accounts.push(synced.account_id.uuid());
        rows.push(i64::from(synced.rows));
        booked.push(i64::from(synced.rows_booked));
        known.push(i64::from(synced.rows_known));
        categorised.push(i64::from(synced.rows_categorised));
        zero.push(i64::from(synced.rows_zero));
        amounts.push(synced.booked.amount());
        currencies.push(synced.booked.currency().code().to_owned());
        at.push(fact.record.recorded_at);
    }
    if families.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into imports as i
            (family_id, import_id, family_seq, connection_id, account_id, rows, rows_booked, rows_known, rows_zero,
            booked, currency, imported_at, rows_categorised, source, file_sha256, is_undone, entries_reversed)
        select *, '', '', false, 0
        from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::numeric[], $11::text[], $12::timestamptz[], $13::bigint[])
        on conflict (family_id, import_id) do update
        set family_seq = least(i.family_seq, excluded.family_seq),
            account_id = excluded.account_id,
            rows = excluded.rows,
            rows_booked = excluded.rows_booked,
            rows_known = excluded.rows_known,
            rows_categorised = excluded.rows_categorised,
            rows_zero = excluded.rows_zero,
            booked = excluded.booked,
            currency = excluded.currency,
            imported_at = least(i.imported_at, excluded.imported_at)",
    )
    .bind(families)
    .bind(ids)
    .bind(seqs)
    .bind(connections)
    .bind(accounts)
    .bind(rows)
    .bind(booked)
    .bind(known)
    .bind(zero)
    .bind(amounts)
    .bind(currencies)
    .bind(at)
    .bind(categorised)
    .execute(tx)
    .await?;
    Ok(())
}

async fn name_files(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut ids, mut seqs, mut connections) = (vec![], vec![], vec![], vec![]);
    let (mut sources, mut files, mut at) = (vec![], vec![], vec![]);
    for fact in facts {
        let LedgerEvent::StatementImport(StatementImportEvent::StatementImported(imported)) = &fact.event else {
            continue;
        };
        families.push(fact.family());
        ids.push(imported.import_id.uuid());
        seqs.push(fact.record.family_seq);
        connections.push(imported.connection_id.uuid());
        sources.push(imported.source.as_str());
        files.push(imported.file_sha256.as_str());
        at.push(fact.record.recorded_at);
    }
    if families.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into imports as i
            (family_id, import_id, family_seq, connection_id, source, file_sha256, imported_at, rows, rows_booked,
            rows_known, rows_categorised, rows_zero, is_undone, entries_reversed)
        select *, 0, 0, 0, 0, 0, false, 0
        from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[])
        on conflict (family_id, import_id) do update
        set family_seq = least(i.family_seq, excluded.family_seq),
            source = excluded.source,
            file_sha256 = excluded.file_sha256,
            imported_at = least(i.imported_at, excluded.imported_at)",
    )
    .bind(families)
    .bind(ids)
    .bind(seqs)
    .bind(connections)
    .bind(sources)
    .bind(files)
    .bind(at)
    .execute(tx)
    .await?;
    Ok(())
}

async fn undo(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
    let (mut families, mut ids, mut reversed) = (vec![], vec![], vec![]);
    for fact in facts {
        let LedgerEvent::BankConnection(BankConnectionEvent::BankSyncUndone(undone)) = &fact.event else {
            continue;
        };
        families.push(fact.family());
        ids.push(undone.import_id.uuid());
        reversed.push(i64::from(undone.entries_reversed));
    }
    if families.is_empty() {
        return Ok(());
    }
    let wanted = ids.len();
    let done = sqlx::query(
        "update imports i
        set is_undone = true,
            entries_reversed = u.entries_reversed
        from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as u (family_id, import_id, entries_reversed)
        where i.family_id = u.family_id
            and i.import_id = u.import_id",
    )
    .bind(families)
    .bind(ids)
    .bind(reversed)
    .execute(tx)
    .await?;
    reached(&done, wanted, "an import")
}
