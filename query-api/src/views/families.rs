//! The families a person belongs to. The only question across families: it sees the places this person has taken, and no more.

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::Response,
};
use domain::{
    actor::Role,
    id::{FamilyId, MemberId},
};
use schemars::JsonSchema;
use serde::Serialize;
use service_kit::{auth::SignedIn, problem::Problem};
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    answer,
    error::QueryError,
    params::{self, NoParams},
    serve::{Scope, snapshot},
    state::QueryState,
};

/// The URL.
pub const PATH: &str = "/api/v1/families";

/// One family, seen by one of its members.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Family {
    /// The family.
    pub family_id: FamilyId,
    /// What it calls itself.
    pub name: String,
    /// The currency of its reports.
    pub currency: String,
    /// Its IANA zone.
    pub zone: String,
    /// `monday`, `saturday` or `sunday`.
    pub week_start: String,
    /// The asking person's place in it.
    pub member_id: MemberId,
    /// Their role.
    pub role: Role,
    /// The last event of the family that the views contain.
    pub family_seq: i64,
}

/// Answer of `families`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FamiliesAnswer {
    /// By name.
    pub families: Vec<Family>,
}

#[derive(FromRow)]
struct Row {
    family_id: Uuid,
    name: String,
    currency: String,
    zone: String,
    week_start: String,
    member_id: Uuid,
    role: String,
    family_seq: i64,
}

/// The handler.
pub async fn families(
    State(state): State<QueryState>,
    signed_in: SignedIn,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    params::read::<NoParams>(query.as_deref())?;
    let body = serde_json::to_vec(&read(&state, signed_in).await?).map_err(QueryError::from)?;
    Ok(answer::respond(&headers, body))
}

async fn read(state: &QueryState, signed_in: SignedIn) -> Result<FamiliesAnswer, QueryError> {
    let mut tx = snapshot(state, Scope::OwnPlaces(signed_in.user_id)).await?;
    let rows: Vec<Row> = sqlx::query_as(
        "select f.family_id, f.name, f.currency, f.zone, f.week_start, m.member_id, m.role, h.family_seq
        from members m
        join families f on f.family_id = m.family_id
        join family_heads h on h.family_id = m.family_id
        left join standings s on s.family_id = m.family_id and s.member_id = m.member_id
        where m.user_id = $1
            and (s.ends_at is null or s.ends_at > $2 or m.role <> 'auditor')
        order by f.name, f.family_id",
    )
    .bind(signed_in.user_id.uuid())
    .bind((state.clock)())
    .fetch_all(&mut *tx)
    .await?;
    let families = rows.into_iter().map(family).collect::<Result<_, _>>()?;
    Ok(FamiliesAnswer { families })
}

fn family(row: Row) -> Result<Family, QueryError> {
    Ok(Family {
        family_id: FamilyId::from_uuid(row.family_id),
        name: row.name,
        currency: row.currency,
        zone: row.zone,
        week_start: row.week_start,
        member_id: MemberId::from_uuid(row.member_id),
        role: row.role.parse().map_err(|_| QueryError::Row { what: "members" })?,
        family_seq: row.family_seq,
    })
}
