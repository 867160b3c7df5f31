//! The leaderboard: effort, never money, and nobody young without a parent's word.

use chrono::NaiveDate;
use domain::{
    calendar::{self, FIRST_DAY},
    id::MemberId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    error::QueryError,
    params,
    view::{View, Viewer},
};

/// Points by week, month, or of all time.
pub struct Leaderboard;

/// The stretch that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeaderboardPeriod {
    /// Seven days from the family's week start.
    #[default]
    Week,
    /// A calendar month.
    Month,
    /// Since the beginning.
    All,
}

/// Parameters of `leaderboard`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaderboardParams {
    /// The stretch that counts; `week` when absent.
    #[serde(default)]
    pub period: LeaderboardPeriod,
    /// The week or month that holds this day; today in the family's zone when absent.
    pub on: Option<NaiveDate>,
}

/// One line.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// From 1; equal points share a rank, and the next rank counts them all.
    pub rank: u32,
    /// Who.
    pub member_id: MemberId,
    /// The name shown in the family.
    pub display_name: String,
    /// Points earned in the stretch.
    pub points: i64,
}

/// Answer of `leaderboard`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LeaderboardAnswer {
    /// The stretch.
    pub period: LeaderboardPeriod,
    /// Its first day; null for all time.
    pub first_on: Option<NaiveDate>,
    /// Its last day, included; null for all time.
    pub last_on: Option<NaiveDate>,
    /// Most points first.
    pub places: Vec<Place>,
    /// How many teens and children are not shown because no parent has opted them in.
    pub not_shown: i64,
}

impl View for Leaderboard {
    const NAME: &'static str = "leaderboard";
    const SUMMARY: &'static str = "Points by week, month, or of all time";
    const VISIBILITY: &'static str = "Everybody sees the members who are opted in.";
    const BY_DAY: Option<&'static str> =
        Some("Points earned on later days do not count; without `on`, of the week or month that holds that day.");
    type Params = LeaderboardParams;
    type Answer = LeaderboardAnswer;

    async fn read(
        tx: &mut PgConnection,
        viewer: &Viewer,
        params: LeaderboardParams,
    ) -> Result<LeaderboardAnswer, QueryError> {
        let on = params::day("on", params.on)?.unwrap_or(viewer.today);
        let stretch = match params.period {
            LeaderboardPeriod::Week => Some(viewer.calendar.period_of(calendar::Period::Week, on)),
            LeaderboardPeriod::Month => Some(viewer.calendar.period_of(calendar::Period::Month, on)),
            LeaderboardPeriod::All => None,
        };
        let rows = points(tx, viewer, stretch).await?;
        let not_shown = sqlx::query_scalar(
            "select count(*)
            from members m
            where m.family_id = $1
                and (not m.on_leaderboard or m.member_id = any($2))
                and m.role in ('teen', 'child')
                and not exists (
                    select from standings s
                    where s.family_id = m.family_id and s.member_id = m.member_id and s.has_left
                )",
        )
        .bind(viewer.family())
        .bind(&viewer.not_ranked_now)
        .fetch_one(tx)
        .await?;
        Ok(LeaderboardAnswer {
            period: params.period,
            first_on: stretch.map(|(first, _)| first),
            last_on: stretch.map(|(_, last)| last),
            places: ranked(rows),
            not_shown,
        })
    }
}

#[derive(FromRow)]
struct Row {
    member_id: Uuid,
    display_name: String,
    points: i64,
}

async fn points(
    tx: &mut PgConnection,
    viewer: &Viewer,
    stretch: Option<(NaiveDate, NaiveDate)>,
) -> Result<Vec<Row>, QueryError> {
    // Totals know no days, so a bound by day sums all days there were until then.
    let since_ever = viewer.effective_on.map(|last| (FIRST_DAY, last));
    let shown = match stretch.or(since_ever) {
        Some((first, last)) => sqlx::query_as(
            "select m.member_id, m.display_name, coalesce(sum(p.points), 0)::bigint as points
            from members m
            left join point_days p
                on p.family_id = m.family_id
                and p.member_id = m.member_id
                and p.earned_on between $2 and $3
            left join consent_rules r on r.family_id = m.family_id
            left join consents c on c.family_id = m.family_id and c.member_id = m.member_id
            where m.family_id = $1
                and not generations.awaits_consent(m.role, r.age, r.notice_version, c.youngest, c.notice_version, c.is_revoked)
                and m.on_leaderboard
                and m.role <> 'auditor'
                and m.member_id <> all($4)
            group by m.member_id, m.display_name
            order by points desc, m.display_name, m.member_id",
        )
        .bind(viewer.family())
        .bind(first)
        .bind(viewer.up_to(last))
        .bind(&viewer.not_ranked_now),
        None => sqlx::query_as(
            "select m.member_id, m.display_name, coalesce(p.points, 0) as points
            from members m
            left join point_totals p on p.family_id = m.family_id and p.member_id = m.member_id
            left join consent_rules r on r.family_id = m.family_id
            left join consents c on c.family_id = m.family_id and c.member_id = m.member_id
            where m.family_id = $1
                and not generations.awaits_consent(m.role, r.age, r.notice_version, c.youngest, c.notice_version, c.is_revoked)
                and m.on_leaderboard
                and m.role <> 'auditor'
                and m.member_id <> all($2)
            order by points desc, m.display_name, m.member_id",
        )
        .bind(viewer.family())
        .bind(&viewer.not_ranked_now),
    };
    Ok(shown.fetch_all(tx).await?)
}

fn ranked(rows: Vec<Row>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(rows.len());
    for (number, row) in (1..).zip(rows) {
        let tied = places
            .last()
            .filter(|before| before.points == row.points)
            .map(|before| before.rank);
        places.push(Place {
            rank: tied.unwrap_or(number),
            member_id: MemberId::from_uuid(row.member_id),
            display_name: row.display_name,
            points: row.points,
        });
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_points_share_a_rank_and_the_next_counts_them_all() {
        let row = |points| Row {
            member_id: Uuid::nil(),
            display_name: String::new(),
            points,
        };
        let ranks: Vec<u32> = ranked([9, 7, 7, 3].map(row).into())
            .iter()
            .map(|place| place.rank)
            .collect();
        assert_eq!(ranks, [1, 2, 2, 4]);
    }
}
