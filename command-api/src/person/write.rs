//! Writes an export: the account, then family by family what is theirs in the log.

use std::sync::Arc;

use domain::id::UserId;
use event_store::{Log, LogError};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::{
    account::{SEALED_NUMBER, SECTIONS},
    event::Theirs,
    form::{Form, Section},
    place::Seen,
};
use crate::{
    delivery::{Delivery, Gone},
    identity::{Identity, IdentityError},
};

static MEMBERSHIPS: Section = Section {
    name: "memberships",
    heading: "Your families",
    columns: &[
        "family_name",
        "display_name",
        "role",
        "left_at",
        "family_id",
        "member_id",
    ],
};
static EVENTS: Section = Section {
    name: "events",
    heading: "What is recorded by you and about you",
    columns: &["recorded_at", "effective_on", "event", "details"],
};
/// Text that is collected before it is sent.
const PIECE_BYTES: usize = 32 * 1024;

/// Whom an export is about.
pub(super) struct Subject {
    /// Their account, when it is theirs to have.
    pub account: Option<UserId>,
    /// Their places, also those that are over.
    pub places: Arc<[Seen]>,
}

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the reader went away")]
    Gone,
    #[error("the account cannot be read")]
    Database(#[from] sqlx::Error),
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    #[error("an event cannot be read")]
    Payload(#[from] serde_json::Error),
    #[error("what is sealed of the account cannot be opened")]
    Identity(#[from] IdentityError),
    #[error("an event cannot be opened")]
    Decode(#[from] domain::aggregate::DecodeError),
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Text on its way, sent in pieces.
struct Out<'a> {
    held: String,
    delivery: &'a Delivery,
}

impl Out<'_> {
    async fn put(&mut self, text: &str) -> Result<(), Gone> {
        self.held.push_str(text);
        if self.held.len() >= PIECE_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        let held = std::mem::take(&mut self.held);
        self.delivery.send(held.into_bytes().into()).await
    }
}

pub(super) async fn write(
    identity: &Identity,
    log: &Log,
    subject: &Subject,
    mut form: Box<dyn Form>,
    delivery: &Delivery,
) -> Result<(), Failure> {
    let form = form.as_mut();
    let mut out = Out {
        held: String::new(),
        delivery,
    };
    out.put(&form.begin(chrono::Utc::now())).await?;
    if let Some(user_id) = subject.account {
        write_account(identity, user_id, form, &mut out).await?;
    }
    out.put(&form.section(&MEMBERSHIPS)).await?;
    for seen in subject.places.iter() {
        let row = json!({
            "family_id": seen.their.family_id,
            "family_name": seen.family_name,
            "member_id": seen.member.member_id,
            "display_name": seen.member.display_name,
            "role": seen.member.role,
            "on_leaderboard": seen.member.on_leaderboard,
            "left_at": seen.left_at,
        });
        out.put(&form.row(&row)).await?;
    }
    out.put(&form.section(&EVENTS)).await?;
    for seen in subject.places.iter() {
        out.put(&form.group(&seen.family_name)).await?;
        write_events(log, seen, form, &mut out).await?;
    }
    out.put(&form.end()).await?;
    out.flush().await?;
    Ok(())
}

async fn write_account(
    identity: &Identity,
    user_id: UserId,
    form: &mut dyn Form,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    for account in SECTIONS {
        out.put(&form.section(&account.section)).await?;
        let mut rows = sqlx::query_scalar::<_, Value>(account.sql)
            .bind(user_id.uuid())
            .fetch(identity.pool());
        while let Some(mut row) = rows.try_next().await? {
            if let Some(sealed) = row[SEALED_NUMBER].as_str() {
                row["number"] = json!(identity.phone_number(user_id, &hex::decode(sealed).unwrap_or_default())?);
                row.as_object_mut().map(|row| row.remove(SEALED_NUMBER));
            }
            out.put(&form.row(&row)).await?;
        }
    }
    Ok(())
}

async fn write_events(log: &Log, seen: &Seen, form: &mut dyn Form, out: &mut Out<'_>) -> Result<(), Failure> {
    let (family_id, lane) = (seen.their.family_id, seen.their.lane);
    let hidden = seen.hidden.iter().map(ToString::to_string);
    let mut theirs = Theirs::new(seen.member.member_id, seen.member.role.is_young(), hidden);
    let mut stored = std::pin::pin!(log.read_family_stream(lane, family_id, 0));
    while let Some(record) = stored.next().await.transpose()? {
        if record.family_seq > seen.until {
            break;
        }
        theirs.learn(&record, &serde_json::from_str(&record.payload)?);
    }
    let mut opened = std::pin::pin!(log.read_family_stream(lane, family_id, 0));
    while let Some(record) = opened.next().await.transpose()? {
        // What was recorded meanwhile has not been learnt from.
        if record.family_seq > seen.until {
            break;
        }
        let payload = serde_json::from_str(&record.opened_payload()?)?;
        if let Some(row) = theirs.told(&record, payload) {
            out.put(&form.row(&row)).await?;
        }
    }
    Ok(())
}
