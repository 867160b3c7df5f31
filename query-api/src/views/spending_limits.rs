//! What teens and children may spend by themselves, and how much of it is left.
//!
//! What is left follows from spending in any account that the member spends from: to an adult from whom one of these is hidden it
//! would tell what happens there. So it is for the member, for parents, from whom no such account can be hidden, and for who sees
//! every account there is.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::{actor::Role, id::MemberId, spending::LimitPeriod};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    amount::Amount,
    error::QueryError,
    params::NoParams,
    view::{View, Viewer},
};

/// Spending limits.
pub struct SpendingLimits;

/// A limit in one stretch of days.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PeriodLimit {
    /// `day`, `week` or `month`.
    pub period: String,
    /// Its first day.
    pub first_on: NaiveDate,
    /// Its last day, included.
    pub last_on: NaiveDate,
    /// How much may be spent.
    pub limit: Amount,
    /// What is spent of it; null for a partner from whom an account is hidden.
    pub spent: Option<Amount>,
    /// What is left, nothing at least; null likewise.
    pub left: Option<Amount>,
}

/// One member's limit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MemberLimit {
    /// The teen or child.
    pub member_id: MemberId,
    /// The currency of the limit: spending in another needs approval.
    pub currency: String,
    /// How much one entry may be.
    pub per_entry: Option<Amount>,
    /// Limits of a day, a week and a month, as far as they are said.
    pub periods: Vec<PeriodLimit>,
}

/// Answer of `spending-limits`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SpendingLimitsAnswer {
    /// Members who have one.
    pub limits: Vec<MemberLimit>,
}

impl View for SpendingLimits {
    const NAME: &'static str = "spending-limits";
    const SUMMARY: &'static str = "What teens and children may spend by themselves, and what is left of it";
    const VISIBILITY: &'static str = "Adults and auditors see all limits; what is spent and left of one is not shown to a partner from whom \
        an account is hidden. A teen or child sees their own.";
    const BY_DAY: Option<&'static str> =
        Some("Day, week and month are those of that day, and of what is spent only what counts until then.");
    type Params = NoParams;
    type Answer = SpendingLimitsAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, _: NoParams) -> Result<SpendingLimitsAnswer, QueryError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select l.member_id, l.currency, l.per_entry, l.per_day, l.per_week, l.per_month
            from spending_limits l
            join members m on m.family_id = l.family_id and m.member_id = l.member_id
            left join standings s on s.family_id = l.family_id and s.member_id = l.member_id
            where l.family_id = $1
                and ($2 or l.member_id = $3)
                and m.role = any($4)
                and not coalesce(s.has_left, false)
            order by m.added_at, l.member_id",
        )
        .bind(viewer.family())
        .bind(viewer.sees_all_money())
        .bind(viewer.member_id.uuid())
        .bind(Role::YOUNG.iter().map(|role| role.as_str()).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await?;
        let sees_every_account = viewer.money_scope(tx).await?.only().is_none();
        // In rows of another time a parent may meet an account that was a teen's then, and is hidden from them now.
        let is_parent = viewer.role == Role::Parent && viewer.hidden_now.is_empty();
        let spent = spent(tx, viewer).await?;
        let limit = |row: Row| {
            let sees_spent = sees_every_account || is_parent || row.member_id == viewer.member_id.uuid();
            row.limit(viewer, &spent, sees_spent)
        };
        Ok(SpendingLimitsAnswer {
            limits: rows.into_iter().map(limit).collect(),
        })
    }
}

#[derive(FromRow)]
struct Row {
    member_id: Uuid,
    currency: String,
    per_entry: Option<Decimal>,
    per_day: Option<Decimal>,
    per_week: Option<Decimal>,
    per_month: Option<Decimal>,
}

impl Row {
    fn limit(self, viewer: &Viewer, spent: &Spent, sees_spent: bool) -> MemberLimit {
        let said = [
            (LimitPeriod::Day, self.per_day),
            (LimitPeriod::Week, self.per_week),
            (LimitPeriod::Month, self.per_month),
        ];
        let amount = |amount: Decimal| Amount::new(amount, self.currency.clone());
        let periods = said.into_iter().filter_map(|(period, limit)| {
            let limit = limit?;
            let (first_on, last_on) = period.days(viewer.calendar, viewer.today);
            let days = spent.get(&(self.member_id, self.currency.clone()));
            let spent: Decimal = days
                .into_iter()
                .flat_map(|days| days.range(first_on..=last_on))
                .map(|(_, amount)| amount)
                .sum();
            Some(PeriodLimit {
                period: period.as_str().to_owned(),
                first_on,
                last_on,
                limit: amount(limit),
                spent: sees_spent.then(|| amount(spent)),
                left: sees_spent.then(|| amount((limit - spent).max(Decimal::ZERO))),
            })
        });
        MemberLimit {
            member_id: MemberId::from_uuid(self.member_id),
            periods: periods.collect(),
            per_entry: self.per_entry.map(amount),
            currency: self.currency.clone(),
        }
    }
}

/// What counts by member and currency, day by day.
type Spent = BTreeMap<(Uuid, String), BTreeMap<NaiveDate, Decimal>>;

/// All that counts in the week and the month of the viewer's day.
async fn spent(tx: &mut PgConnection, viewer: &Viewer) -> Result<Spent, QueryError> {
    let days = |period: LimitPeriod| period.days(viewer.calendar, viewer.today);
    let (week, month) = (days(LimitPeriod::Week), days(LimitPeriod::Month));
    let rows: Vec<(Uuid, String, NaiveDate, Decimal)> = sqlx::query_as(
        "select member_id, currency, spent_on, amount
        from spending_limit_days
        where family_id = $1
            and spent_on between $2 and $3",
    )
    .bind(viewer.family())
    .bind(week.0.min(month.0))
    .bind(viewer.up_to(week.1.max(month.1)))
    .fetch_all(tx)
    .await?;
    let mut spent = Spent::new();
    for (member, currency, day, amount) in rows {
        spent.entry((member, currency)).or_default().insert(day, amount);
    }
    Ok(spent)
}
