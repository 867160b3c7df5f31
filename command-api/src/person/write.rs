//! Writes an export: the account, then family by family what is theirs in the log.

use domain::id::{FamilyId, MemberId, UserId};
use event_store::{
    Lane, Log, LogError,
    replay::{family_now, hidden_now},
};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::{
    account::SECTIONS,
    event::Theirs,
    form::{Form, Section},
};
use crate::{
    delivery::{Delivery, Gone},
    identity::Identity,
};

static MEMBERSHIPS: Section = Section {
    name: "memberships",
    heading: "Your families",
    columns: &["family_name", "display_name", "role", "family_id", "member_id"],
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
    /// Their places.
    pub families: Vec<TheirFamily>,
}

/// A place in a family, and the place of whoever asks.
pub(super) struct TheirFamily {
    pub family_id: FamilyId,
    pub lane: Lane,
    pub member_id: MemberId,
    pub asking: MemberId,
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
    let mut named = Vec::new();
    for their in &subject.families {
        let mut tx = log.about(their.family_id).await?;
        let family = family_now(log, &mut tx, their.lane, their.family_id).await?;
        // Whoever was removed meanwhile has nothing more to have.
        let Ok(member) = family.member(their.member_id) else {
            continue;
        };
        let mut hidden = hidden_now(log, &mut tx, their.lane, their.family_id, their.member_id).await?;
        if their.asking != their.member_id {
            hidden.extend(hidden_now(log, &mut tx, their.lane, their.family_id, their.asking).await?);
        }
        let name = family.name().unwrap_or_default().to_owned();
        let row = json!({
            "family_id": their.family_id,
            "family_name": name,
            "member_id": their.member_id,
            "display_name": member.display_name,
            "role": member.role,
            "on_leaderboard": member.on_leaderboard,
        });
        out.put(&form.row(&row)).await?;
        let hidden = hidden.iter().map(ToString::to_string);
        named.push((
            their,
            name,
            Theirs::new(their.member_id, member.role.is_young(), hidden),
        ));
    }
    out.put(&form.section(&EVENTS)).await?;
    for (their, name, theirs) in named {
        out.put(&form.group(&name)).await?;
        write_events(log, their, theirs, form, &mut out).await?;
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
        while let Some(row) = rows.try_next().await? {
            out.put(&form.row(&row)).await?;
        }
    }
    Ok(())
}

async fn write_events(
    log: &Log,
    their: &TheirFamily,
    mut theirs: Theirs,
    form: &mut dyn Form,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let mut stored = std::pin::pin!(log.read_family_stream(their.lane, their.family_id, 0));
    let mut head = 0;
    while let Some(record) = stored.next().await.transpose()? {
        head = record.family_seq;
        theirs.learn(&record, &serde_json::from_str(&record.payload)?);
    }
    let mut opened = std::pin::pin!(log.read_family_stream(their.lane, their.family_id, 0));
    while let Some(record) = opened.next().await.transpose()? {
        // What was recorded meanwhile has not been learnt from.
        if record.family_seq > head {
            break;
        }
        let payload = serde_json::from_str(&record.opened_payload()?)?;
        if let Some(row) = theirs.told(&record, payload) {
            out.put(&form.row(&row)).await?;
        }
    }
    Ok(())
}
