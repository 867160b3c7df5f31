//! How far each member has read their notifications.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{aggregate::LedgerEvent, inbox::InboxEvent};
use sqlx::PgConnection;

use crate::projection::{Fact, Projection, ProjectionError};

/// One mark per member.
pub struct InboxMarks;

#[async_trait]
impl Projection for InboxMarks {
    fn name(&self) -> &'static str {
        "inbox_marks"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["inbox_marks"]
    }

    async fn project(&self, facts: &[Fact], tx: &mut PgConnection) -> Result<(), ProjectionError> {
        let mut marks = BTreeMap::new();
        for fact in facts {
            if let LedgerEvent::Inbox(InboxEvent::NotificationsRead(read)) = &fact.event {
                let up_to = i64::try_from(read.up_to_family_seq).unwrap_or(i64::MAX);
                marks.insert((fact.family(), read.member_id.uuid()), up_to);
            }
        }
        if marks.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into inbox_marks (family_id, member_id, read_up_to)
            select * from unnest($1::uuid[], $2::uuid[], $3::bigint[])
            on conflict (family_id, member_id) do update
            set read_up_to = excluded.read_up_to",
        )
        .bind(marks.keys().map(|(family, _)| *family).collect::<Vec<_>>())
        .bind(marks.keys().map(|(_, member)| *member).collect::<Vec<_>>())
        .bind(marks.values().copied().collect::<Vec<_>>())
        .execute(tx)
        .await?;
        Ok(())
    }
}
