//! Writes an export: the account, then family by family what is theirs in the log.

use domain::{
    family::Member,
    id::{AccountId, FamilyId, MemberId, UserId},
};
use event_store::{
    Lane, Log, LogError,
    replay::{Last, PastPlace, family_now, hidden_now},
};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::{
    account::{SEALED_NUMBER, SECTIONS},
    event::Theirs,
    form::{Form, Section},
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
    pub families: Vec<TheirFamily>,
}

/// A place in a family.
pub(super) struct TheirFamily {
    pub family_id: FamilyId,
    pub lane: Lane,
    pub place: TheirPlace,
}

/// Whose place it is, and what of the family may be told.
pub(super) enum TheirPlace {
    /// One they have, as whoever asks and they themself see the family now.
    Held { member_id: MemberId, asking: MemberId },
    /// One that is over, as they saw the family when it ended.
    Past(PastPlace),
}

impl TheirFamily {
    /// What is told of the place; none when whoever had it was removed meanwhile.
    async fn seen(&self, log: &Log) -> Result<Option<Seen>, LogError> {
        let (member_id, asking) = match &self.place {
            TheirPlace::Held { member_id, asking } => (*member_id, *asking),
            TheirPlace::Past(past) => {
                return Ok(Some(Seen {
                    member: past.member.clone(),
                    family_name: past.family_name.clone(),
                    ended: Some(past.ended),
                    hidden: past.hidden.clone(),
                }));
            }
        };
        let mut tx = log.about(self.family_id).await?;
        let family = family_now(log, &mut tx, self.lane, self.family_id).await?;
        let Ok(member) = family.member(member_id) else {
            return Ok(None);
        };
        let mut hidden = hidden_now(log, &mut tx, self.lane, self.family_id, member_id).await?;
        if asking != member_id {
            hidden.extend(hidden_now(log, &mut tx, self.lane, self.family_id, asking).await?);
        }
        Ok(Some(Seen {
            member: member.clone(),
            family_name: family.name().unwrap_or_default().to_owned(),
            ended: None,
            hidden,
        }))
    }
}

/// A place as it may be told.
struct Seen {
    member: Member,
    family_name: String,
    /// The last event of theirs, when the place is over.
    ended: Option<Last>,
    hidden: Vec<AccountId>,
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
    let mut places = Vec::new();
    for their in &subject.families {
        let Some(seen) = their.seen(log).await? else {
            continue;
        };
        let row = json!({
            "family_id": their.family_id,
            "family_name": seen.family_name,
            "member_id": seen.member.member_id,
            "display_name": seen.member.display_name,
            "role": seen.member.role,
            "on_leaderboard": seen.member.on_leaderboard,
            "left_at": seen.ended.map(|last| last.recorded_at),
        });
        out.put(&form.row(&row)).await?;
        places.push((their, seen));
    }
    out.put(&form.section(&EVENTS)).await?;
    for (their, seen) in places {
        out.put(&form.group(&seen.family_name)).await?;
        write_events(log, their, &seen, form, &mut out).await?;
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

async fn write_events(
    log: &Log,
    their: &TheirFamily,
    seen: &Seen,
    form: &mut dyn Form,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let hidden = seen.hidden.iter().map(ToString::to_string);
    let mut theirs = Theirs::new(seen.member.member_id, seen.member.role.is_young(), hidden);
    let until = seen.ended.map_or(i64::MAX, |last| last.family_seq);
    let mut stored = std::pin::pin!(log.read_family_stream(their.lane, their.family_id, 0));
    let mut head = 0;
    while let Some(record) = stored.next().await.transpose()? {
        if record.family_seq > until {
            break;
        }
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
