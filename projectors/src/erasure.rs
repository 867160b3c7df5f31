//! Erasure in the rows. An event that erases has destroyed the keys by its own append, so whoever reads it can no more open the texts;
//! but the rows that were folded before still hold them.
//!
//! So in the transaction that folds such an event, the family's rows are cleared and folded again from its first event, page by
//! page, with the texts as they read now. Readers see the rows as they were or as they are then, and never half of it. A family
//! that is parked is treated alike up to where it is parked. Of a family that was deleted no row is kept but its head.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use domain::{aggregate::LedgerEvent, family::FamilyEvent, id::FamilyId};
use event_store::{Lane, Record};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    apply::{Applier, ApplyError, load_head},
    parking::{Until, park, take_up},
    projection::Fact,
};

/// Events after which texts read otherwise than before.
pub(crate) const ERASES: [&str; 2] = ["MemberErased", "FamilyDeleted"];

/// Families of which records erase something.
pub(crate) fn erased_in<'a>(records: impl IntoIterator<Item = &'a Record>) -> BTreeSet<FamilyId> {
    records
        .into_iter()
        .filter(|record| ERASES.contains(&record.event_type.as_str()))
        .map(|record| record.family_id)
        .collect()
}

fn is_deletion(fact: &Fact) -> bool {
    matches!(fact.event, LedgerEvent::Family(FamilyEvent::FamilyDeleted(_)))
}

/// Do these facts end a family?
pub(crate) fn ends(facts: &[Fact]) -> bool {
    facts.iter().any(is_deletion)
}

/// The facts of families that these facts do not end.
pub(crate) fn of_living(facts: &[Fact]) -> Cow<'_, [Fact]> {
    let ended: BTreeSet<Uuid> = facts
        .iter()
        .filter(|fact| is_deletion(fact))
        .map(Fact::family)
        .collect();
    if ended.is_empty() {
        return Cow::Borrowed(facts);
    }
    let living = facts.iter().filter(|fact| !ended.contains(&fact.family()));
    Cow::Owned(living.cloned().collect())
}

/// Clears a family's rows and folds them again, up to where they were.
pub(crate) async fn scrub(
    applier: &Applier,
    lane: Lane,
    family: FamilyId,
    tx: &mut PgConnection,
) -> Result<(), ApplyError> {
    let heads: BTreeMap<Uuid, _> = load_head(family.uuid(), tx).await?;
    let Some(head) = heads.get(&family.uuid()) else {
        return Ok(());
    };
    clear(applier, family, tx).await?;
    sqlx::query("delete from family_heads where family_id = $1")
        .bind(family.uuid())
        .execute(&mut *tx)
        .await?;
    let until = Until {
        position: i64::MAX,
        family_seq: head.family_seq,
    };
    let taken = take_up(applier, lane, family, until, tx).await?;
    if let Some(poison) = &taken.poison {
        park(std::slice::from_ref(poison), tx).await?;
    }
    tracing::info!(family.id = %family, events = taken.events, "rows were folded again after an erasure");
    Ok(())
}

/// Clears a family's rows; its head stays.
pub(crate) async fn clear(applier: &Applier, family: FamilyId, tx: &mut PgConnection) -> Result<(), ApplyError> {
    let tables = applier.projections.iter().flat_map(|projection| projection.tables());
    for table in tables {
        // Names of our own tables; nothing of a request gets here.
        sqlx::query(&format!("delete from {table} where family_id = $1"))
            .bind(family.uuid())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
