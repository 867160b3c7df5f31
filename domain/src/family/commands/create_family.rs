//! A person founds a family and becomes its first parent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::set_country::country_set;
use crate::{
    Currency,
    actor::Role,
    calendar::WeekStart,
    category::{Category, CategoryAdded, CategoryKind},
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyCreated, FamilyRefusal, MemberAdded, MemberJoined},
    id::{CategoryId, MemberId},
    text,
};

/// The categories a new family starts with; any number may be added.
const USUAL_CATEGORIES: &[(&str, CategoryKind)] = &[
    ("Groceries", CategoryKind::Expense),
    ("Eating out", CategoryKind::Expense),
    ("Housing", CategoryKind::Expense),
    ("Utilities", CategoryKind::Expense),
    ("Transport", CategoryKind::Expense),
    ("Health", CategoryKind::Expense),
    ("Children", CategoryKind::Expense),
    ("Leisure", CategoryKind::Expense),
    ("Clothing", CategoryKind::Expense),
    ("Gifts", CategoryKind::Expense),
    ("Fees", CategoryKind::Expense),
    ("Salary", CategoryKind::Income),
    ("Interest", CategoryKind::Income),
    ("Other income", CategoryKind::Income),
];

/// A person founds a family and becomes its first parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateFamily {
    /// What the family calls itself.
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// The currency of its reports and budgets; accounts may be in others.
    pub currency: Currency,
    /// IANA zone, such as `Europe/Berlin`; decides which day an instant belongs to.
    #[serde(default = "utc")]
    #[schemars(length(max = 64))]
    pub zone: String,
    /// Where weeks begin.
    #[serde(default)]
    pub week_start: WeekStart,
    /// The founder's name in the family; `Parent` when absent.
    #[serde(default)]
    #[schemars(length(max = 120))]
    pub display_name: Option<String>,
    /// Which country's law the family is under, ISO 3166-1, two capital letters. It may be said later, by `set-country`; before, no
    /// teen or child is given a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 2))]
    pub country: Option<String>,
    /// Start with the usual categories?
    #[serde(default = "yes")]
    pub with_categories: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}

const fn yes() -> bool {
    true
}

impl Decide for CreateFamily {
    const NAME: &'static str = "create-family";
    const SUMMARY: &'static str = "Found a family; whoever asks becomes its first parent";
    const CREATES_FAMILY: bool = true;
    const FOR_STRANGERS: bool = true;

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let family_id = context.meta().family_id;
        let family = context.get::<Family>(family_id.uuid())?;
        if family.was_created() {
            // Strangers must not learn which families there are.
            let is_member = family.member_of_user(context.meta().user_id, context.at()).is_some();
            return Err(if is_member {
                FamilyRefusal::AlreadyCreated
            } else {
                FamilyRefusal::UnknownFamily
            }
            .into());
        }
        let zone: chrono_tz::Tz = self.zone.parse().map_err(|_| FamilyRefusal::UnknownZone)?;
        let today = context.at().with_timezone(&zone).date_naive();
        let member_id = MemberId::from_uuid(context.new_id(0));
        let mut decision = Decision::default();
        let created = FamilyCreated {
            family_id,
            name: text::name("name", &self.name)?,
            currency: self.currency,
            zone: zone.name().to_owned(),
            week_start: self.week_start,
        };
        decision.record::<Family>(family_id.uuid(), created.into(), today);
        let founder = MemberAdded {
            member_id,
            display_name: text::name("display_name", self.display_name.as_deref().unwrap_or("Parent"))?,
            role: Role::Parent,
            on_leaderboard: true,
        };
        decision.record::<Family>(family_id.uuid(), founder.into(), today);
        let joined = MemberJoined {
            member_id,
            user_id: context.meta().user_id,
        };
        decision.record::<Family>(family_id.uuid(), joined.into(), today);
        if let Some(country) = &self.country {
            decision.record::<Family>(family_id.uuid(), country_set(country)?.into(), today);
        }
        let usual = USUAL_CATEGORIES.iter().filter(|_| self.with_categories);
        for (name, kind) in usual {
            let category_id = CategoryId::of_name(family_id, *kind, name);
            let added = CategoryAdded {
                category_id,
                name: (*name).to_owned(),
                kind: *kind,
            };
            decision.record::<Category>(category_id.uuid(), added.into(), today);
        }
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scenario;

    fn command() -> CreateFamily {
        CreateFamily {
            name: "Lovelace".to_owned(),
            currency: "EUR".parse().expect("a code"),
            zone: "Europe/Berlin".to_owned(),
            week_start: WeekStart::Monday,
            display_name: Some("Ada".to_owned()),
            country: None,
            with_categories: false,
        }
    }

    #[test]
    fn the_founder_is_a_parent_who_has_joined() {
        let scenario = Scenario::empty();
        let events = scenario.when(&command()).accepted();
        assert_eq!(
            events.iter().map(|e| e.kind().0).collect::<Vec<_>>(),
            ["FamilyCreated", "MemberAdded", "MemberJoined"]
        );
    }

    #[test]
    fn a_country_may_be_said_at_once() {
        let of = |country: &str| CreateFamily {
            country: Some(country.to_owned()),
            ..command()
        };
        let events = Scenario::empty().when(&of("PT")).accepted();
        let names: Vec<_> = events.iter().map(|event| event.kind().0).collect();
        assert_eq!(names, ["FamilyCreated", "MemberAdded", "MemberJoined", "CountrySet"]);
        Scenario::empty().when(&of("Portugal")).refused("unknown-country");
    }

    #[test]
    fn the_usual_categories_come_with_it_unless_declined() {
        let events = Scenario::empty()
            .when(&CreateFamily {
                with_categories: true,
                ..command()
            })
            .accepted();
        assert_eq!(events.len(), 3 + USUAL_CATEGORIES.len());
    }

    #[test]
    fn a_family_is_founded_once() {
        Scenario::family().when(&command()).refused("family-exists");
    }

    #[test]
    fn a_stranger_does_not_learn_that_a_family_exists() {
        Scenario::family()
            .asked_by_stranger()
            .when(&command())
            .refused("unknown-family");
    }

    #[test]
    fn a_zone_that_does_not_exist_is_refused() {
        Scenario::empty()
            .when(&CreateFamily {
                zone: "Mars/Olympus".to_owned(),
                ..command()
            })
            .refused("unknown-zone");
    }

    #[test]
    fn a_name_must_say_something() {
        Scenario::empty()
            .when(&CreateFamily {
                name: "  ".to_owned(),
                ..command()
            })
            .refused("bad-text");
    }
}
