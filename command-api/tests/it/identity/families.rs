//! A list of places in one family, in memory.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use async_trait::async_trait;
use chrono::DateTime;
use command_api::identity::{
    Families, Place as PlaceOf,
    trail::history::{FamilyHistory, Stay},
};
use domain::{
    actor::Role,
    id::{CommandId, FamilyId, MemberId, UserId},
};
use serde_json::{Value, json};
use service_kit::problem::Problem;

/// Which role a place has, and who holds it.
type Place = (Role, Option<UserId>);

#[derive(Default)]
pub(crate) struct Places {
    places: Mutex<HashMap<(FamilyId, MemberId), Place>>,
    joins: Mutex<HashMap<CommandId, Value>>,
    stumbles: Mutex<u32>,
    leaves: Mutex<HashSet<CommandId>>,
    lost: Mutex<u32>,
    arriving: Mutex<Option<(FamilyId, MemberId, UserId)>>,
    gate: tokio::sync::Mutex<()>,
    changes: Mutex<i64>,
}

impl Places {
    pub(crate) fn put(&self, family_id: FamilyId, member_id: MemberId, role: Role, user_id: Option<UserId>) {
        *self.changes.lock().unwrap() += 1;
        self.places
            .lock()
            .unwrap()
            .insert((family_id, member_id), (role, user_id));
    }

    pub(crate) fn holder(&self, family_id: FamilyId, member_id: MemberId) -> Option<UserId> {
        self.places.lock().unwrap()[&(family_id, member_id)].1
    }

    pub(crate) fn place_of(&self, family_id: FamilyId, user_id: UserId) -> MemberId {
        let places = self.places.lock().unwrap();
        let place = places
            .iter()
            .find(|((family, _), (_, holder))| *family == family_id && *holder == Some(user_id));
        place.unwrap().0.1
    }

    /// The next so many joins answer 503.
    pub(crate) fn stumble(&self, times: u32) {
        *self.stumbles.lock().unwrap() = times;
    }

    /// Of the next so many leavings nobody hears that they were done.
    pub(crate) fn lose_answers(&self, times: u32) {
        *self.lost.lock().unwrap() = times;
    }

    /// While somebody leaves next, this person gets this place, as a partner.
    pub(crate) fn arrive_meanwhile(&self, family_id: FamilyId, member_id: MemberId, user_id: UserId) {
        *self.arriving.lock().unwrap() = Some((family_id, member_id, user_id));
    }

    /// Until this is dropped, joins wait.
    pub(crate) async fn hold_joins(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.gate.lock().await
    }
}

#[async_trait]
impl Families for Places {
    async fn role_of(&self, family_id: FamilyId, user_id: UserId) -> Result<Option<(MemberId, Role)>, Problem> {
        let places = self.places.lock().unwrap();
        let place = places
            .iter()
            .find(|((family, _), (_, user))| *family == family_id && *user == Some(user_id));
        Ok(place.map(|((_, member_id), (role, _))| (*member_id, *role)))
    }

    async fn member(&self, family_id: FamilyId, member_id: MemberId) -> Result<(Role, Option<UserId>), Problem> {
        let places = self.places.lock().unwrap();
        let place = places.get(&(family_id, member_id)).copied();
        place.ok_or_else(|| Problem::unknown("unknown-member", "there is no such member"))
    }

    async fn place(&self, family_id: FamilyId, member_id: MemberId) -> Result<(Role, Option<UserId>), Problem> {
        self.member(family_id, member_id).await
    }

    async fn hides_from(&self, _: FamilyId, _: MemberId, _: MemberId) -> Result<bool, Problem> {
        Ok(false)
    }

    async fn revisions(&self, families: &[FamilyId]) -> Result<HashMap<FamilyId, i64>, Problem> {
        let changes = *self.changes.lock().unwrap();
        Ok(families.iter().map(|family_id| (*family_id, changes)).collect())
    }

    async fn history(&self, family_id: FamilyId, _: MemberId) -> Result<FamilyHistory, Problem> {
        let places = self.places.lock().unwrap();
        let of_family = places.iter().filter(|((family, _), _)| *family == family_id);
        let stays = of_family.filter_map(|((_, member_id), (role, user_id))| {
            user_id.map(|user_id| Stay {
                user_id,
                member_id: *member_id,
                role: *role,
                since: DateTime::UNIX_EPOCH,
                has_ended: false,
            })
        });
        Ok(FamilyHistory {
            stays: stays.collect(),
            changes: Vec::new(),
        })
    }

    async fn places_of(&self, user_id: UserId) -> Result<Vec<PlaceOf>, Problem> {
        let places = self.places.lock().unwrap();
        let parents = |family| {
            let of_family = places.iter().filter(|((of, _), _)| *of == family);
            of_family
                .filter(|(_, (role, user))| *role == Role::Parent && user.is_some())
                .count()
        };
        let theirs = places.iter().filter(|(_, (_, user))| *user == Some(user_id));
        Ok(theirs
            .map(|((family_id, member_id), (role, _))| PlaceOf {
                family_id: *family_id,
                member_id: *member_id,
                role: *role,
                is_last_parent: *role == Role::Parent && parents(*family_id) < 2,
            })
            .collect())
    }

    async fn leave(&self, family_id: FamilyId, user_id: UserId, command_id: CommandId) -> Result<(), Problem> {
        if !self.leaves.lock().unwrap().insert(command_id) {
            return Ok(());
        }
        if let Some((family_id, member_id, user_id)) = self.arriving.lock().unwrap().take() {
            self.put(family_id, member_id, Role::Partner, Some(user_id));
        }
        let mut places = self.places.lock().unwrap();
        let theirs = places
            .iter_mut()
            .filter(|((family, _), (_, user))| *family == family_id && *user == Some(user_id));
        theirs.for_each(|(_, (_, user))| *user = None);
        let mut lost = self.lost.lock().unwrap();
        if *lost > 0 {
            *lost -= 1;
            return Err(Problem::unavailable(1, "not now"));
        }
        Ok(())
    }

    async fn erase(&self, family_id: FamilyId, user_id: UserId, command_id: CommandId) -> Result<(), Problem> {
        self.leave(family_id, user_id, command_id).await
    }

    async fn open_place(&self, family_id: FamilyId, member_id: MemberId) -> Result<Role, Problem> {
        match self.places.lock().unwrap().get(&(family_id, member_id)) {
            None => Err(Problem::unknown("unknown-member", "there is no such member")),
            Some((_, Some(_))) => Err(Problem::conflict("already-joined", "somebody has this place")),
            Some((role, None)) => Ok(*role),
        }
    }

    async fn join(
        &self,
        family_id: FamilyId,
        member_id: MemberId,
        user_id: UserId,
        command_id: CommandId,
    ) -> Result<Value, Problem> {
        let _open = self.gate.lock().await;
        if let Some(answer) = self.joins.lock().unwrap().get(&command_id) {
            return Ok(answer.clone());
        }
        let mut stumbles = self.stumbles.lock().unwrap();
        if *stumbles > 0 {
            *stumbles -= 1;
            return Err(Problem::unavailable(1, "not now"));
        }
        let mut places = self.places.lock().unwrap();
        match places.get_mut(&(family_id, member_id)) {
            Some((_, user @ None)) => *user = Some(user_id),
            Some(_) => return Err(Problem::conflict("already-joined", "somebody has this place")),
            None => return Err(Problem::unknown("unknown-member", "there is no such member")),
        }
        let answer = json!({"command_id": command_id, "family_id": family_id, "member_id": member_id});
        self.joins.lock().unwrap().insert(command_id, answer.clone());
        Ok(answer)
    }
}
