//! What a view is, and who looks at it.

use std::{future::Future, pin::Pin};

use axum::routing::MethodRouter;
use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Currency,
    access::{self, Row},
    actor::Role,
    calendar::{Calendar, WeekStart},
    id::{FamilyId, MemberId, UserId},
};
use schemars::{JsonSchema, Schema};
use serde::{Serialize, de::DeserializeOwned};
use service_kit::problem::Problem;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    answer::{self, Onlooker},
    error::QueryError,
    places::Place,
    serve,
    state::QueryState,
};

/// One view of a family: its parameters, its answer, and who may see what in it.
pub trait View: 'static {
    /// The last part of its URL.
    const NAME: &'static str;
    /// One sentence for the API's documentation.
    const SUMMARY: &'static str;
    /// Who may ask at all: its row of the role matrix, without which it does not compile. Others get 403.
    const ACCESS: &'static Row = access::view(Self::NAME);
    /// What each of them sees, in words.
    const VISIBILITY: &'static str;
    /// What `effective_on` does to the answer, in words; none when nothing in it counts for a day, and the parameter is refused.
    const BY_DAY: Option<&'static str>;
    /// Query parameters.
    type Params: DeserializeOwned + JsonSchema + Send;
    /// The answer, beside `family_seq`.
    type Answer: Serialize + JsonSchema + Send;

    /// Reads the answer in the viewer's snapshot.
    fn read(
        tx: &mut PgConnection,
        viewer: &Viewer,
        params: Self::Params,
    ) -> impl Future<Output = Result<Self::Answer, QueryError>> + Send;
}

/// Who may see all of the family's money.
pub const ADULTS_AND_AUDITOR: &[Role] = &[Role::Parent, Role::Partner, Role::Auditor];

/// A view as the list holds it.
pub struct ViewEntry {
    /// See [`View::NAME`].
    pub name: &'static str,
    /// See [`View::SUMMARY`].
    pub summary: &'static str,
    /// See [`View::ACCESS`].
    pub access: &'static Row,
    /// See [`View::VISIBILITY`].
    pub visibility: &'static str,
    /// See [`View::BY_DAY`].
    pub by_day: Option<&'static str>,
    /// JSON Schema of the parameters.
    pub params: fn(&mut schemars::SchemaGenerator) -> Schema,
    /// JSON Schema of the answer without its envelope.
    pub answer: fn(&mut schemars::SchemaGenerator) -> Schema,
    /// Its handler.
    pub route: fn() -> MethodRouter<QueryState>,
    /// Its answer from the rows a connection shows; see [`crate::answer`].
    pub(crate) read: Read,
}

/// Reads a view by its query string, and writes the answer.
pub(crate) type Read = for<'a> fn(
    &'a mut PgConnection,
    &'a Viewer,
    Option<&'a str>,
) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, QueryError>> + Send + 'a>>;

impl ViewEntry {
    /// The entry of a view.
    pub const fn of<V: View>() -> Self {
        Self {
            name: V::NAME,
            summary: V::SUMMARY,
            access: V::ACCESS,
            visibility: V::VISIBILITY,
            by_day: V::BY_DAY,
            params: |generator| <V::Params as JsonSchema>::json_schema(generator),
            answer: |generator| <V::Answer as JsonSchema>::json_schema(generator),
            route: || axum::routing::get(serve::serve::<V>),
            read: |tx, viewer, query| Box::pin(answer::read::<V>(tx, viewer, query)),
        }
    }

    /// Its URL.
    pub fn path(&self) -> String {
        format!("/api/v1/families/{{family_id}}/{}", self.name)
    }
}

/// The member who asks, in the family as the rows have it.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The family.
    pub family_id: FamilyId,
    /// The member.
    pub member_id: MemberId,
    /// Their role.
    pub role: Role,
    /// Do they wait for a parent's consent? Then no view is answered to them.
    pub awaits_consent: bool,
    /// The last event in the rows.
    pub family_seq: i64,
    /// Which generation of the rows it is.
    pub generation: String,
    /// Of which history the rows are: the chain hash of their last event.
    pub chain_hash: Vec<u8>,
    /// What the family calls itself.
    pub family_name: String,
    /// The currency of its reports.
    pub currency: Currency,
    /// Its calendar.
    pub calendar: Calendar,
    /// Its day; with a bound by day, that day.
    pub today: NaiveDate,
    /// Nothing that counts for a later day is in the answer.
    pub effective_on: Option<NaiveDate>,
    /// Accounts that are hidden from the member as things are now; asked for in rows of another time only, where shares are those
    /// of then.
    pub hidden_now: Vec<Uuid>,
    /// The young who are on no leaderboard as things are now; likewise.
    pub not_ranked_now: Vec<Uuid>,
}

impl Viewer {
    /// The person's place in the family, in the snapshot of `tx`; none for a stranger and for a family that does not exist.
    pub(crate) async fn load(
        tx: &mut PgConnection,
        family_id: FamilyId,
        user_id: UserId,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, QueryError> {
        let row: Option<Place> = sqlx::query_as(
            "select m.member_id, m.role, h.family_seq, coalesce(current_setting('kinledger.generation', true), '') as generation,
                f.name, f.currency, f.zone, f.week_start,
                generations.awaits_consent(m.role, r.age, r.notice_version, c.youngest, c.notice_version, c.is_revoked) as awaits_consent,
                h.chain_hash
            from members m
            join families f on f.family_id = m.family_id
            join family_heads h on h.family_id = m.family_id
            left join standings s on s.family_id = m.family_id and s.member_id = m.member_id
            left join consent_rules r on r.family_id = m.family_id
            left join consents c on c.family_id = m.family_id and c.member_id = m.member_id
            where m.family_id = $1
                and m.user_id = $2
                and (s.ends_at is null or s.ends_at > $3 or m.role <> 'auditor')",
        )
        .bind(family_id.uuid())
        .bind(user_id.uuid())
        .bind(now)
        .fetch_optional(tx)
        .await?;
        row.map(|row| Self::of_place(family_id, &row, now)).transpose()
    }

    /// Somebody whose role was settled elsewhere, looking at rows of another time; none when the family is not in them, and for a
    /// teen or child also when they were not in the family yet: they are shown no more of the past than they could have seen.
    ///
    /// # Errors
    /// The problem to answer with.
    pub async fn of_onlooker(tx: &mut PgConnection, onlooker: &Onlooker) -> Result<Option<Self>, Problem> {
        Ok(Self::load_onlooker(tx, onlooker).await?)
    }

    async fn load_onlooker(tx: &mut PgConnection, onlooker: &Onlooker) -> Result<Option<Self>, QueryError> {
        let row: Option<Place> = sqlx::query_as(
            "select $2::uuid as member_id, $3::text as role, h.family_seq, '' as generation, f.name, f.currency, f.zone,
                f.week_start, false as awaits_consent, h.chain_hash
            from families f
            join family_heads h on h.family_id = f.family_id
            where f.family_id = $1
                and ($4 or exists (select from members m where m.family_id = f.family_id and m.member_id = $2))",
        )
        .bind(onlooker.family_id.uuid())
        .bind(onlooker.member_id.uuid())
        .bind(onlooker.role.as_str())
        .bind(ADULTS_AND_AUDITOR.contains(&onlooker.role))
        .fetch_optional(tx)
        .await?;
        let hidden_now = onlooker.hidden_now.iter().map(|account| account.uuid()).collect();
        let not_ranked_now = onlooker.not_ranked_now.iter().map(|member| member.uuid()).collect();
        let viewer = row
            .map(|row| Self::of_place(onlooker.family_id, &row, onlooker.now))
            .transpose()?;
        Ok(viewer.map(|viewer| Self {
            hidden_now,
            not_ranked_now,
            ..viewer
        }))
    }

    /// The member who has this place.
    pub(crate) fn of_place(family_id: FamilyId, row: &Place, now: DateTime<Utc>) -> Result<Self, QueryError> {
        let calendar = calendar(&row.zone, &row.week_start)?;
        Ok(Self {
            family_id,
            member_id: MemberId::from_uuid(row.member_id),
            role: row.role.parse().map_err(|_| QueryError::Row { what: "members" })?,
            awaits_consent: row.awaits_consent,
            family_seq: row.family_seq,
            generation: row.generation.clone(),
            chain_hash: row.chain_hash.clone(),
            family_name: row.name.clone(),
            currency: row.currency.parse().map_err(|_| QueryError::Row { what: "families" })?,
            calendar,
            today: calendar.day_of(now),
            effective_on: None,
            hidden_now: Vec::new(),
            not_ranked_now: Vec::new(),
        })
    }

    /// The same member looking at the books as of a day: what a view does "today" without being told a day, it does then.
    #[must_use]
    pub(crate) fn looking_at(self, effective_on: Option<NaiveDate>) -> Self {
        Self {
            today: effective_on.unwrap_or(self.today),
            effective_on,
            ..self
        }
    }

    /// The last day that counts when a view is asked for days up to `last`.
    pub(crate) fn up_to(&self, last: NaiveDate) -> NaiveDate {
        self.effective_on.map_or(last, |bound| bound.min(last))
    }

    /// The family's bare UUID, as rows hold it.
    pub fn family(&self) -> Uuid {
        self.family_id.uuid()
    }

    /// May the role see the money of the whole family? Teens and children see their own, and what was shared with them; which
    /// accounts it comes to is in [`Viewer::money_scope`].
    pub fn sees_all_money(&self) -> bool {
        ADULTS_AND_AUDITOR.contains(&self.role)
    }
}

fn calendar(zone: &str, week_start: &str) -> Result<Calendar, QueryError> {
    let wrong = || QueryError::Row { what: "families" };
    let week_start = match week_start {
        "monday" => WeekStart::Monday,
        "saturday" => WeekStart::Saturday,
        "sunday" => WeekStart::Sunday,
        _ => return Err(wrong()),
    };
    Ok(Calendar {
        zone: zone.parse().map_err(|_| wrong())?,
        week_start,
    })
}
