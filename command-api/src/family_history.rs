//! A family's history of access, read from its log: its own stream, and what its accounts' streams tell of shares.

use std::collections::BTreeMap;

use cqrs_es::Aggregate;
use domain::{
    actor::Role,
    aggregate::LedgerEvent,
    family::{Family, FamilyEvent},
    id::{FamilyId, MemberId},
    stream::StreamId,
};
use event_store::{Lane, Log, LogError, Record, replay::shares_told};
use serde::Serialize;
use serde_json::Value;

use crate::identity::{
    security_events::Kind,
    trail::history::{Change, FamilyHistory, Stay},
};

/// The history as this member may know it; of shares only those of accounts that they look after or see because of them.
pub(crate) async fn read(
    log: &Log,
    lane: Lane,
    family_id: FamilyId,
    member_id: MemberId,
) -> Result<FamilyHistory, LogError> {
    let stream = StreamId {
        kind: Family::TYPE,
        id: family_id.uuid(),
    };
    let mut history = FamilyHistory::default();
    let mut roles = BTreeMap::new();
    for record in log.read_stream(lane, family_id, stream).await? {
        // Names are not asked for, so nothing has to be opened.
        let event = record.decode_stored().map_err(|cause| LogError::Decode {
            family_id,
            family_seq: record.family_seq,
            cause,
        })?;
        if let LedgerEvent::Family(event) = event {
            take(&mut history, &mut roles, &record, &event);
        }
    }
    for stay in &mut history.stays {
        stay.role = roles.get(&stay.member_id).copied().unwrap_or(stay.role);
    }
    let mut tx = log.about(family_id).await?;
    for (record, shared) in shares_told(log, &mut tx, lane, family_id, member_id).await? {
        let what = vec![shared.level.as_str().to_owned()];
        let account_id = Some(shared.account_id);
        history.changes.push(Change {
            account_id,
            ..change(&record, Kind::AccountShared, Some(shared.member_id), what)
        });
    }
    Ok(history)
}

fn take(history: &mut FamilyHistory, roles: &mut BTreeMap<MemberId, Role>, record: &Record, event: &FamilyEvent) {
    let mut tell = |kind, member_id, what| history.changes.push(change(record, kind, member_id, what));
    match event {
        FamilyEvent::MemberAdded(added) => {
            roles.insert(added.member_id, added.role);
            tell(
                Kind::MemberAdded,
                Some(added.member_id),
                vec![added.role.as_str().to_owned()],
            );
        }
        FamilyEvent::MemberRenamed(renamed) => tell(Kind::MemberRenamed, Some(renamed.member_id), Vec::new()),
        FamilyEvent::MemberJoined(joined) => {
            tell(Kind::Joined, Some(joined.member_id), Vec::new());
            history.stays.push(Stay {
                user_id: joined.user_id,
                member_id: joined.member_id,
                role: roles.get(&joined.member_id).copied().unwrap_or(Role::Child),
                since: record.recorded_at,
                has_ended: false,
            });
        }
        FamilyEvent::MemberRoleChanged(changed) => {
            roles.insert(changed.member_id, changed.to);
            let what = [changed.from, changed.to].map(|role| role.as_str().to_owned());
            tell(Kind::RoleChanged, Some(changed.member_id), what.to_vec());
        }
        FamilyEvent::MemberLeft(left) => {
            tell(Kind::MemberLeft, Some(left.member_id), Vec::new());
            end(history, left.member_id);
        }
        FamilyEvent::MemberRemoved(removed) => {
            tell(Kind::MemberRemoved, Some(removed.member_id), Vec::new());
            end(history, removed.member_id);
        }
        FamilyEvent::MemberErased(erased) => {
            tell(Kind::Erased, Some(erased.member_id), Vec::new());
            end(history, erased.member_id);
        }
        FamilyEvent::AuditTermSet(term) => tell(Kind::AuditTermSet, Some(term.member_id), Vec::new()),
        FamilyEvent::HandoverOffered(offered) => tell(Kind::HandoverOffered, Some(offered.to), Vec::new()),
        FamilyEvent::HandoverWithdrawn(withdrawn) => tell(Kind::HandoverWithdrawn, Some(withdrawn.to), Vec::new()),
        FamilyEvent::FamilyHandedOver(over) => tell(Kind::FamilyHandedOver, Some(over.to), Vec::new()),
        FamilyEvent::CountrySet(_) => tell(Kind::CountrySet, None, Vec::new()),
        FamilyEvent::NoticeChanged(_) => tell(Kind::NoticeChanged, None, Vec::new()),
        FamilyEvent::AgeBandSet(set) => tell(Kind::AgeBandSet, Some(set.member_id), Vec::new()),
        FamilyEvent::ConsentGiven(given) => {
            tell(Kind::ConsentGiven, Some(given.member_id), word(&given.method));
        }
        FamilyEvent::ConsentRevoked(revoked) => tell(Kind::ConsentWithdrawn, Some(revoked.member_id), Vec::new()),
        FamilyEvent::FamilyCreated(_)
        | FamilyEvent::FamilyDeleted(_)
        | FamilyEvent::LeaderboardChoiceMade(_)
        | FamilyEvent::WalletAssigned(_) => {}
    }
}

fn end(history: &mut FamilyHistory, member_id: MemberId) {
    let of_them = history.stays.iter_mut().filter(|stay| stay.member_id == member_id);
    of_them.for_each(|stay| stay.has_ended = true);
}

fn change(record: &Record, kind: Kind, member_id: Option<MemberId>, what: Vec<String>) -> Change {
    Change {
        at: record.recorded_at,
        family_seq: record.family_seq,
        kind,
        member_id,
        by: record.metadata_entry("member_id").and_then(|text| text.parse().ok()),
        account_id: None,
        what,
    }
}

/// The word a value of a closed list is written as.
fn word(value: &impl Serialize) -> Vec<String> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => vec![word],
        _ => Vec::new(),
    }
}
