//! A person's places in families, and what of each may be told: fixed before the first byte, and asked again while it is on its way.
//!
//! Of a place that is held, events up to the family's last at that moment are told, so that whatever is hidden among them is known.
//! When the place ends, or an account that was shown is hidden, the rest is not sent.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::{
    actor::Role,
    family::Member,
    id::{AccountId, FamilyId, MemberId, UserId},
};
use event_store::{
    Lane, Log, LogError,
    replay::{PastPlace, family_now, sight_now},
};
use service_kit::problem::Problem;

use super::PersonState;
use crate::{audit::Grounds, log_problem};

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

/// A place as it may be told.
pub(super) struct Seen {
    pub their: TheirFamily,
    pub member: Member,
    pub family_name: String,
    /// When it was over, if it is.
    pub left_at: Option<DateTime<Utc>>,
    /// The last event that is told.
    pub until: i64,
    pub hidden: Vec<AccountId>,
    shown: Vec<AccountId>,
}

impl TheirFamily {
    /// What is told of the place; none when whoever had it was removed meanwhile.
    pub(super) async fn seen(self, log: &Log) -> Result<Option<Seen>, LogError> {
        let (member_id, asking) = match &self.place {
            TheirPlace::Held { member_id, asking } => (*member_id, *asking),
            TheirPlace::Past(past) => {
                return Ok(Some(Seen {
                    member: past.member.clone(),
                    family_name: past.family_name.clone(),
                    left_at: Some(past.ended.recorded_at),
                    until: past.ended.family_seq,
                    hidden: past.hidden.clone(),
                    shown: Vec::new(),
                    their: self,
                }));
            }
        };
        let until = log.load(self.lane, self.family_id, &[]).await?.head.family_seq;
        let mut tx = log.about(self.family_id).await?;
        let family = family_now(log, &mut tx, self.lane, self.family_id).await?;
        let Ok(member) = family.member(member_id) else {
            return Ok(None);
        };
        let mut sight = sight_now(log, &mut tx, self.lane, self.family_id, member_id).await?;
        if asking != member_id {
            let other = sight_now(log, &mut tx, self.lane, self.family_id, asking).await?;
            sight.shown.retain(|account| other.shown.contains(account));
            sight.hidden.extend(other.hidden);
        }
        Ok(Some(Seen {
            member: member.clone(),
            family_name: family.name().unwrap_or_default().to_owned(),
            left_at: None,
            until,
            hidden: sight.hidden,
            shown: sight.shown,
            their: self,
        }))
    }
}

/// The places of an export that is on its way.
pub(super) struct OnItsWay {
    pub state: PersonState,
    /// Who asked for it.
    pub person: UserId,
    pub places: Arc<[Seen]>,
}

#[async_trait]
impl Grounds for OnItsWay {
    async fn are_there(&self) -> Result<bool, Problem> {
        for place in self.places.iter() {
            if let TheirPlace::Held { member_id, asking } = place.their.place
                && !self.is_still_shown(place, member_id, asking).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl OnItsWay {
    async fn is_still_shown(&self, place: &Seen, member_id: MemberId, asking: MemberId) -> Result<bool, Problem> {
        let TheirFamily { family_id, lane, .. } = place.their;
        let families = self.state.identity.families();
        let held = match families.role_of(family_id, self.person).await {
            // What may not be processed any more is not told either.
            Err(problem) if problem.status() == StatusCode::FORBIDDEN => None,
            held => held?,
        };
        let Some((_, role)) = held.filter(|(held, _)| *held == asking) else {
            return Ok(false);
        };
        let again = TheirFamily {
            family_id,
            lane,
            place: TheirPlace::Held { member_id, asking },
        };
        let now = again.seen(&self.state.log).await;
        let Some(now) = now.map_err(|error| log_problem(&error))? else {
            return Ok(false);
        };
        let may_ask = asking == member_id || (role == Role::Parent && now.member.role.is_young());
        Ok(may_ask && place.shown.iter().all(|account| now.shown.contains(account)))
    }
}
