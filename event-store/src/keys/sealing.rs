//! Sealing the texts of events that are about to be appended.

use std::{collections::BTreeSet, sync::Arc};

use domain::{aggregate::LedgerEvent, id::MemberId, personal::Subject};
use uuid::Uuid;

use super::{
    Held, Keys, KeysError, Known, Whose, context,
    envelope::{Place, ValueKey},
};
use crate::{AppendCommand, AppendEvent, LogError};

/// The keys a batch is sealed under.
pub(crate) struct Sealing {
    held: Held,
}

/// Whose texts a batch has.
fn wanted_by(batch: &[AppendCommand]) -> BTreeSet<Whose> {
    let mut wanted = BTreeSet::new();
    for command in batch {
        let actor = actor(command);
        for new in command.events.iter().filter(|new| new.event.is_personal()) {
            new.event.clone().visit_personal(&mut |personal| {
                if !personal.text.is_empty() {
                    wanted.insert(whose(command, actor, personal.subject));
                }
            });
        }
    }
    wanted
}

impl Keys {
    /// The keys that a batch's texts are to be sealed under, when all of them are in memory and can be used.
    pub(crate) fn in_memory_for(&self, batch: &[AppendCommand]) -> Option<Sealing> {
        let held = self.in_memory(&wanted_by(batch))?;
        let are_living = held.values().all(|known| matches!(**known, Known::Living(_)));
        are_living.then_some(Sealing { held })
    }

    /// The keys that a batch's texts are to be sealed under; those that are missing are made, and are durable then.
    pub(crate) async fn for_batch(&self, batch: &[AppendCommand]) -> Result<Sealing, LogError> {
        let wanted = wanted_by(batch);
        let mut held = self.living(&wanted).await?;
        // What comes of somebody who was erased meanwhile is the family's: their own key is gone for good.
        let erased = held.iter().filter(|(_, known)| matches!(***known, Known::Erased));
        let families: BTreeSet<Whose> = erased.map(|((family, _), _)| (*family, *family)).collect();
        if !families.is_empty() {
            held.extend(self.living(&families).await?);
        }
        Ok(Sealing { held })
    }

    /// Keys of all of these that were not destroyed.
    async fn living(&self, wanted: &BTreeSet<Whose>) -> Result<Held, LogError> {
        if wanted.is_empty() {
            return Ok(Held::new());
        }
        let mut held = self.held(wanted, None).await?;
        let missing: BTreeSet<Whose> = wanted
            .iter()
            .copied()
            .filter(|whose| !held.contains_key(whose))
            .collect();
        if !missing.is_empty() {
            self.make(&missing).await?;
            held.extend(self.held(&missing, None).await?);
        }
        for whose in wanted {
            match held.get(whose).map(|known| &**known) {
                Some(Known::Living(_) | Known::Erased) => {}
                Some(Known::Damaged) => return Err(damaged(whose, "it does not unwrap")),
                None => return Err(damaged(whose, "it is not there right after it was made")),
            }
        }
        Ok(held)
    }

    /// Makes keys. Another process may do so at the same moment; then the first stays.
    async fn make(&self, missing: &BTreeSet<Whose>) -> Result<(), LogError> {
        let encryption = self.encryptions().current();
        let mut wrapped = Vec::with_capacity(missing.len());
        for whose in missing {
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key)
                .map_err(|_| LogError::Keys(KeysError::Encryption("no random bytes".to_owned())))?;
            wrapped.push(
                encryption
                    .wrap(&context(*whose, 1), &key)
                    .await
                    .map_err(LogError::Keys)?,
            );
        }
        // In the order of the set, so that two processes never wait for each other crosswise.
        let (families, subjects): (Vec<Uuid>, Vec<Uuid>) = missing.iter().copied().unzip();
        sqlx::query(
            "insert into keys.member_keys (family_id, subject_id, kek_id, wrapped_key)
            select n.family_id, n.subject_id, $3, n.wrapped_key
            from unnest($1::uuid[], $2::uuid[], $4::bytea[]) as n (family_id, subject_id, wrapped_key)
            on conflict do nothing",
        )
        .bind(families)
        .bind(subjects)
        .bind(encryption.id())
        .bind(wrapped)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn damaged((family, subject): &Whose, why: &str) -> LogError {
    LogError::Keys(KeysError::Damaged(format!("{subject} of the family {family}: {why}")))
}

impl Sealing {
    /// The event as it is to be stored.
    pub(crate) fn seal(&self, command: &AppendCommand, new: &AppendEvent) -> LedgerEvent {
        let mut event = new.event.clone();
        let place = Place {
            family_id: command.family_id.uuid(),
            aggregate_type: new.stream.kind,
            aggregate_id: new.stream.id,
            sequence: new.sequence,
            event_type: event.kind().0,
        };
        let actor = actor(command);
        event.visit_personal(&mut |personal| {
            if personal.text.is_empty() {
                return;
            }
            let (family, subject) = whose(command, actor, personal.subject);
            *personal.text = match self.newest(family, subject).or_else(|| self.newest(family, family)) {
                Some((subject, generation, key)) => {
                    ValueKey::of(key, &place, personal.path).seal(subject, generation, personal.text)
                }
                // Not even the family has a key any more: all of it was erased.
                None => personal.erased.to_owned(),
            };
        });
        event
    }

    fn newest(&self, family: Uuid, subject: Uuid) -> Option<(Uuid, i32, &aws_lc_rs::hmac::Key)> {
        match self.held.get(&(family, subject)).map(Arc::as_ref) {
            Some(Known::Living(keys)) => keys.last().map(|(generation, key)| (subject, *generation, key)),
            _ => None,
        }
    }
}

fn whose(command: &AppendCommand, actor: Option<MemberId>, subject: Subject) -> Whose {
    let family = command.family_id.uuid();
    let member = match subject {
        Subject::Member(member) => Some(member),
        Subject::Actor => actor,
        Subject::Family => None,
    };
    (family, member.map_or(family, MemberId::uuid))
}

/// The member who asked for the command, as its metadata say; none for somebody who is no member yet.
fn actor(command: &AppendCommand) -> Option<MemberId> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        member_id: Option<MemberId>,
    }
    let metadata: Metadata = serde_json::from_str(&command.metadata).ok()?;
    metadata.member_id
}
