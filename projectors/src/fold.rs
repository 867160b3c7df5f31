//! Folding records into whatever tables a transaction names, beside all that answers: no checkpoint is asked or moved.
//!
//! A replay of one family makes [`scratch_tables`] in its session, folds the part of the log it is about, and may then run
//! any view's statements over the rows: temporary tables are found before those of any schema.

use domain::{aggregate::DecodeError, id::FamilyId};
use event_store::Record;
use sqlx::{Executor, PgConnection};

use crate::{
    apply::{ApplyError, save_heads},
    projection::Fact,
    projections::{FAMILIES_TABLES, PROJECTIONS},
};

/// Why records did not become rows.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// An event is none that this release knows.
    #[error("the event {family_id} {family_seq} does not read")]
    Decode {
        /// Whose.
        family_id: FamilyId,
        /// Which.
        family_seq: i64,
        /// Why.
        #[source]
        cause: DecodeError,
    },
    /// A projection refused, or the database did.
    #[error("the events cannot be folded")]
    Apply(#[source] ApplyError),
}

/// Folds records, each family's in the order of its ledger and following what was folded before, into the tables that the
/// transaction finds by its search path, and moves those families' heads. Records must come from a log that was verified on
/// the way (`event_store::replay::Pages` does): hashes are not made again here.
///
/// # Errors
/// [`FoldError`]; the caller rolls back.
pub async fn fold_records(records: Vec<Record>, tx: &mut PgConnection) -> Result<(), FoldError> {
    let mut facts = Vec::with_capacity(records.len());
    for record in records {
        let event = record.decode().map_err(|cause| FoldError::Decode {
            family_id: record.family_id,
            family_seq: record.family_seq,
            cause,
        })?;
        facts.push(Fact { record, event });
    }
    fold_facts(&facts, tx).await.map_err(FoldError::Apply)
}

/// [`fold_records`] of what is decoded already.
///
/// # Errors
/// [`ApplyError`]; the caller rolls back.
pub async fn fold_facts(facts: &[Fact], tx: &mut PgConnection) -> Result<(), ApplyError> {
    if facts.is_empty() {
        return Ok(());
    }
    for projection in PROJECTIONS {
        let done = projection.project(facts, &mut *tx).await;
        done.map_err(|cause| ApplyError::Projection {
            name: projection.name(),
            cause,
        })?;
    }
    Ok(save_heads(facts, tx).await?)
}

/// Makes an empty temporary table of every read model's, in this session and until it ends; those there are already are
/// emptied. The session acts in the projector's role, which may read the definition.
///
/// # Errors
/// When the database refuses.
pub async fn scratch_tables(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut statements = String::from("set local client_min_messages = warning;");
    let tables: Vec<&str> = PROJECTIONS
        .iter()
        .flat_map(|projection| projection.tables())
        .chain(FAMILIES_TABLES)
        .copied()
        .collect();
    for table in &tables {
        statements.push_str(&format!(
            "create temporary table if not exists {table} (like views.{table} including defaults including indexes);"
        ));
    }
    let qualified: Vec<String> = tables.iter().map(|table| format!("pg_temp.{table}")).collect();
    statements.push_str(&format!("truncate {}", qualified.join(", ")));
    // Names of our own tables; nothing of a request gets here. Several statements at once are one transaction.
    connection.execute(&*statements).await?;
    Ok(())
}
