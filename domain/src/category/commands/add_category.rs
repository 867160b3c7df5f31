//! A grown-up adds a category to the chart.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    category::{Category, CategoryAdded, CategoryKind, CategoryRefusal},
    decide::{Context, Decide, Decision, Stop},
    id::CategoryId,
    text,
};

/// A grown-up adds a category to the chart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCategory {
    /// What the family calls it; unique among categories of its kind, letter case aside.
    #[schemars(length(min = 1, max = 120))]
    pub name: String,
    /// Income or expense.
    pub kind: CategoryKind,
}

impl Decide for AddCategory {
    const NAME: &'static str = "add-category";
    const SUMMARY: &'static str = "Add an income or expense category";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let name = text::name("name", &self.name)?;
        let category_id = CategoryId::of_name(context.meta().family_id, self.kind, &name);
        if context.get::<Category>(category_id.uuid())?.exists() {
            return Err(CategoryRefusal::NameTaken.into());
        }
        let mut decision = Decision::default();
        let added = CategoryAdded {
            category_id,
            name,
            kind: self.kind,
        };
        decision.record::<Category>(category_id.uuid(), added.into(), context.today()?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Role;
    use crate::testing::Scenario;

    #[test]
    fn a_category_is_added() {
        let command = AddCategory {
            name: "Pets".to_owned(),
            kind: CategoryKind::Expense,
        };
        assert_eq!(Scenario::family().when(&command).accepted().len(), 1);
    }

    #[test]
    fn a_name_is_taken_once_per_kind_whatever_its_case() {
        let command = AddCategory {
            name: "Pets".to_owned(),
            kind: CategoryKind::Expense,
        };
        let scenario = Scenario::family().after(&command);
        scenario
            .when(&AddCategory {
                name: " pets".to_owned(),
                ..command.clone()
            })
            .refused("category-name-taken");
        assert_eq!(
            scenario
                .when(&AddCategory {
                    kind: CategoryKind::Income,
                    ..command
                })
                .accepted()
                .len(),
            1
        );
    }

    #[test]
    fn a_child_adds_none() {
        let command = AddCategory {
            name: "Sweets".to_owned(),
            kind: CategoryKind::Expense,
        };
        Scenario::family()
            .with_member(Role::Child)
            .asked_by(Role::Child)
            .when(&command)
            .refused("role-not-allowed");
    }
}
