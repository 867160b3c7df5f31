//! What the parents of a family are told: the trail, and what the family's log tells, merged.

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    response::Response,
};
use chrono::{DateTime, Utc};
use domain::{
    access::{Row as MatrixRow, route},
    id::{AccountId, FamilyId, MemberId, UserId},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use service_kit::{access, auth::SignedIn, problem::Problem};
use uuid::Uuid;

use super::{
    super::{Identity, IdentityError, private, security_events::Kind},
    Page, PageQuery, begins_at, device_of,
    history::FamilyHistory,
    places::{Key, Source, page},
    words,
};

/// Who may read it.
const READ: &MatrixRow = route("security-events");

/// Of an adult who is not the one who asks, this is what concerns the family, as far as it names the family.
const CONCERNS_THE_FAMILY: &[Kind] = &[
    Kind::ApiKeyEnded,
    Kind::ApiKeyMade,
    Kind::DevicePaired,
    Kind::Erased,
    Kind::Exported,
    Kind::InvitationRevoked,
    Kind::Invited,
    Kind::KeyRotated,
];

/// The log tells these itself.
const TOLD_BY_THE_LOG: &[Kind] = &[
    Kind::ConsentGiven,
    Kind::ConsentWithdrawn,
    Kind::Joined,
    Kind::MemberLeft,
    Kind::MemberRemoved,
    Kind::RoleChanged,
];

/// What happened to the access of a family's members.
#[derive(Serialize, JsonSchema)]
pub(super) struct FamilyPage {
    /// The newest first.
    events: Vec<FamilyEvent>,
    /// Where the next page begins; none after the last one.
    next_cursor: Option<String>,
}

/// One thing that happened.
#[derive(Serialize, JsonSchema)]
pub(super) struct FamilyEvent {
    /// Its name.
    event_id: String,
    /// When (UTC).
    at: DateTime<Utc>,
    /// What, such as `role-changed`.
    kind: String,
    /// About whom; none when it is about the family as a whole or the installation.
    member_id: Option<MemberId>,
    /// Who did it, where that is known and somebody else.
    by: Option<MemberId>,
    /// About which account of the family.
    account_id: Option<AccountId>,
    /// More of it, in words of a closed list: roles, levels, methods, factors, formats.
    what: Vec<String>,
    /// The device of a teen or child, or of who asks; never another adult's.
    device: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    event_id: i64,
    occurred_at: DateTime<Utc>,
    kind: String,
    user_id: Option<Uuid>,
    actor_id: Option<Uuid>,
    detail: Value,
}

/// `GET /api/v1/families/{family_id}/security-events`: a parent.
pub(super) async fn list(
    State(identity): State<Identity>,
    signed_in: SignedIn,
    Path(family_id): Path<String>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let family_id: FamilyId = family_id.parse().map_err(|_| Problem::unknown_family())?;
    let place = identity.families().role_of(family_id, signed_in.user_id).await?;
    let (member_id, role) = place.ok_or_else(Problem::unknown_family)?;
    access::check(READ, role)?;
    let asked = Page::of(query)?;
    let history = identity.families().history(family_id, member_id).await?;
    let open = Open::of(&history, signed_in.user_id);
    let mut items = from_log(&history, &asked);
    for row in from_trail(&identity, family_id, &open, &asked).await? {
        let key = Key {
            at: row.occurred_at,
            source: Source::Trail,
            number: row.event_id,
        };
        items.push((key, told(row, &history, &open)));
    }
    let (items, next_cursor) = page(items, asked.after.as_ref(), asked.limit, identity.trail_key());
    let named = |(key, event): (Key, FamilyEvent)| FamilyEvent {
        event_id: key.name(identity.trail_key()),
        ..event
    };
    Ok(private(Json(FamilyPage {
        events: items.into_iter().map(named).collect(),
        next_cursor,
    })))
}

/// The people of whom everything is told, since when: the family's teens and children, and who asks.
struct Open {
    users: Vec<Uuid>,
    since: Vec<DateTime<Utc>>,
}

impl Open {
    fn of(history: &FamilyHistory, asking: UserId) -> Self {
        let stays = history
            .stays
            .iter()
            .filter(|stay| !stay.has_ended && (stay.role.is_young() || stay.user_id == asking));
        let (users, since) = stays.map(|stay| (stay.user_id.uuid(), stay.since)).unzip();
        Self { users, since }
    }
}

fn from_log(history: &FamilyHistory, asked: &Page) -> Vec<(Key, FamilyEvent)> {
    let (begins_at, until) = (begins_at(), asked.until());
    let changes = history
        .changes
        .iter()
        .filter(|change| change.at >= begins_at && until.is_none_or(|until| change.at <= until));
    changes
        .map(|change| {
            let key = Key {
                at: change.at,
                source: Source::Log,
                number: change.family_seq,
            };
            let event = FamilyEvent {
                event_id: String::new(),
                at: change.at,
                kind: change.kind.as_str().to_owned(),
                member_id: change.member_id,
                by: change.by.filter(|by| Some(*by) != change.member_id),
                account_id: change.account_id,
                what: change.what.clone(),
                device: None,
            };
            (key, event)
        })
        .collect()
}

async fn from_trail(
    identity: &Identity,
    family_id: FamilyId,
    open: &Open,
    asked: &Page,
) -> Result<Vec<Row>, IdentityError> {
    let mut tx = identity.about(family_id).await?;
    let names = |kinds: &[Kind]| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>();
    Ok(sqlx::query_as(include_str!("of_family.sql"))
        .bind(family_id.uuid())
        .bind(asked.until())
        .bind(begins_at())
        .bind(asked.rows())
        .bind(&open.users)
        .bind(&open.since)
        .bind(names(CONCERNS_THE_FAMILY))
        .bind(names(TOLD_BY_THE_LOG))
        .fetch_all(&mut *tx)
        .await?)
}

fn told(row: Row, history: &FamilyHistory, open: &Open) -> FamilyEvent {
    let place = |user: Option<Uuid>| user.and_then(|user| history.place_of(UserId::from_uuid(user), row.occurred_at));
    // Who invites is written down as the person, who mistook a device as the actor, and the place that they open as a detail.
    let invited = row.detail.get("member_id").and_then(Value::as_str);
    let (member_id, by) = match invited.and_then(|text| text.parse().ok()) {
        Some(invited) => (Some(invited), place(row.user_id.or(row.actor_id))),
        None => (place(row.user_id), place(row.actor_id)),
    };
    let is_open = row.user_id.is_some_and(|user| open.users.contains(&user));
    FamilyEvent {
        event_id: String::new(),
        at: row.occurred_at,
        member_id,
        by: by.filter(|by| Some(*by) != member_id),
        account_id: None,
        what: words(&row.detail),
        device: device_of(&row.detail).filter(|_| is_open),
        kind: row.kind,
    }
}
