//! A parent says until when an auditor may look.

use chrono::{Days, Months, NaiveDate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    decide::{Context, Decide, Decision, Stop},
    family::{AuditTermSet, Family, FamilyRefusal},
    id::MemberId,
};

/// Longest term, in months. Source: ours; an audit of a year, and the time to write it up.
const TERM_MONTHS_MAX: u32 = 24;
/// The term of an auditor whose last day nobody said, in days. Source: ours; long enough for most audits, and it ends by itself.
const TERM_DAYS_UNSAID: u64 = 30;

/// A parent says until when an auditor may look: longer or shorter than before. `remove-member` ends it at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAuditTerm {
    /// The auditor.
    pub member_id: MemberId,
    /// The last day, included, in the family's calendar.
    pub until_on: NaiveDate,
}

impl Decide for SetAuditTerm {
    const NAME: &'static str = "set-audit-term";
    const SUMMARY: &'static str = "Say until when an auditor may look";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        if context.family()?.member(self.member_id)?.role != Role::Auditor {
            return Err(FamilyRefusal::NotAnAuditor.into());
        }
        let mut decision = Decision::default();
        let set = term(context, self.member_id, self.until_on)?;
        decision.record::<Family>(context.meta().family_id.uuid(), set.into(), context.today()?);
        Ok(decision)
    }
}

/// The term of who has just become an auditor, where its end was not said: nobody looks for ever because nobody thought of it.
pub(super) fn first_term(context: &Context<'_>, member_id: MemberId) -> Result<AuditTermSet, Stop> {
    term(context, member_id, context.today()? + Days::new(TERM_DAYS_UNSAID))
}

/// The term that ends with a day of the family's calendar.
pub(super) fn term(context: &Context<'_>, member_id: MemberId, until_on: NaiveDate) -> Result<AuditTermSet, Stop> {
    let today = context.today()?;
    if until_on < today
        || today
            .checked_add_months(Months::new(TERM_MONTHS_MAX))
            .is_none_or(|last| until_on > last)
    {
        return Err(FamilyRefusal::TermOver.into());
    }
    Ok(AuditTermSet {
        member_id,
        until_on,
        ends_at: context.family()?.calendar().end_of(until_on),
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::{
        family::commands::LeaveFamily,
        testing::{Scenario, member_id, today},
    };

    fn until(days: u64) -> SetAuditTerm {
        SetAuditTerm {
            member_id: member_id(Role::Auditor),
            until_on: today() + Days::new(days),
        }
    }

    #[test]
    fn the_term_ends_with_the_day_in_the_familys_zone() {
        let scenario = Scenario::family()
            .with_member(Role::Auditor)
            .after(&until(1))
            .asked_by(Role::Auditor);
        // Berlin is an hour ahead of UTC in November.
        let ends_at: DateTime<Utc> = "2026-11-22T23:00:00Z".parse().expect("an instant");
        let before = scenario.clone().at(ends_at - TimeDelta::microseconds(1));
        assert_eq!(before.when(&LeaveFamily {}).accepted().len(), 1);
        scenario.at(ends_at).when(&LeaveFamily {}).refused("unknown-family");
    }

    #[test]
    fn a_term_is_not_over_before_it_begins_nor_endless() {
        let scenario = Scenario::family().with_member(Role::Auditor);
        assert_eq!(scenario.when(&until(0)).accepted().len(), 1);
        let past = SetAuditTerm {
            until_on: today() - Days::new(1),
            ..until(0)
        };
        scenario.when(&past).refused("term-over");
        scenario.when(&until(3_000)).refused("term-over");
    }

    #[test]
    fn only_an_auditor_has_a_term() {
        let member = SetAuditTerm {
            member_id: member_id(Role::Parent),
            ..until(1)
        };
        Scenario::family().when(&member).refused("not-an-auditor");
    }
}
