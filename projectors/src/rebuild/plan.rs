//! Which projections and tables a rebuild is about.

use std::collections::BTreeSet;

use super::RebuildError;
use crate::{
    projection::Projection,
    projections::{FAMILIES_TABLES, PROJECTIONS},
};

/// What is folded, and what of it is switched to.
#[derive(Clone)]
pub(super) struct Plan {
    /// Asked for: their tables are compared and switched to.
    wanted: Vec<&'static dyn Projection>,
    /// Folded because others look at their rows.
    helpers: Vec<&'static dyn Projection>,
}

impl Plan {
    /// The plan for these read models; none stands for all.
    pub(super) fn of(views: &[String]) -> Result<Self, RebuildError> {
        if let Some(unknown) = views.iter().find(|view| named(view).is_none()) {
            let there_are: Vec<&str> = PROJECTIONS.iter().map(|projection| projection.name()).collect();
            return Err(RebuildError::UnknownView {
                name: unknown.clone(),
                there_are: there_are.join(", "),
            });
        }
        let is_wanted = |name: &str| views.is_empty() || views.iter().any(|view| view == name);
        let mut needed: BTreeSet<&str> = BTreeSet::new();
        // A projection looks only at earlier ones of the list, so one walk from its end finds all that are needed.
        for projection in PROJECTIONS.iter().rev() {
            if is_wanted(projection.name()) || needed.contains(projection.name()) {
                needed.extend(projection.reads());
            }
        }
        let (wanted, others): (Vec<_>, Vec<_>) = PROJECTIONS
            .iter()
            .copied()
            .partition(|projection| is_wanted(projection.name()));
        let helpers = others
            .into_iter()
            .filter(|projection| needed.contains(projection.name()))
            .collect();
        Ok(Self { wanted, helpers })
    }

    /// Are all read models built?
    pub(super) fn is_whole(&self) -> bool {
        self.wanted.len() == PROJECTIONS.len()
    }

    /// Names of the read models asked for.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.wanted.iter().map(|projection| projection.name()).collect()
    }

    /// Tables that are switched to, with the read model each belongs to.
    pub(super) fn named_tables(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.wanted
            .iter()
            .flat_map(|projection| projection.tables().iter().map(|table| (projection.name(), *table)))
    }

    /// Tables that are switched to.
    pub(super) fn tables(&self) -> Vec<&'static str> {
        self.named_tables().map(|(_, table)| table).collect()
    }

    /// Tables that are only looked at.
    pub(super) fn helper_tables(&self) -> Vec<&'static str> {
        self.helpers
            .iter()
            .flat_map(|projection| projection.tables().iter().copied())
            .collect()
    }

    /// What is folded, in the order of the list.
    pub(super) fn folded(&self) -> Vec<&'static dyn Projection> {
        let is_folded = |name: &str| self.wanted.iter().chain(&self.helpers).any(|p| p.name() == name);
        PROJECTIONS
            .iter()
            .copied()
            .filter(|projection| is_folded(projection.name()))
            .collect()
    }

    /// Tables that need their keys before the first row: all but those filled by COPY.
    pub(super) fn keyed_first(&self) -> Vec<&'static str> {
        let folded = self.folded();
        let own = folded.iter().flat_map(|projection| {
            let copied = projection.copied();
            projection.tables().iter().filter(move |table| !copied.contains(table))
        });
        own.chain(FAMILIES_TABLES).chain(&["checkpoints"]).copied().collect()
    }
}

fn named(name: &str) -> Option<&'static dyn Projection> {
    PROJECTIONS.iter().copied().find(|projection| projection.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spending_needs_the_entries_it_looks_at_but_does_not_switch_to_them() {
        let plan = Plan::of(&["spending".to_owned()]).expect("a plan");
        assert_eq!(plan.tables(), ["spending_days", "spending_months"]);
        assert_eq!(plan.helper_tables(), ["entries", "entry_postings"]);
        let folded: Vec<&str> = plan.folded().iter().map(|projection| projection.name()).collect();
        assert_eq!(folded, ["entries", "spending"]);
        assert!(!plan.is_whole());
    }

    #[test]
    fn no_name_stands_for_all_and_an_unknown_one_is_refused() {
        let all = Plan::of(&[]).expect("a plan");
        assert!(all.is_whole() && all.helper_tables().is_empty());
        let refused = Plan::of(&["entries".to_owned(), "entires".to_owned()]);
        assert!(matches!(refused, Err(RebuildError::UnknownView { name, .. }) if name == "entires"));
    }

    #[test]
    fn a_projection_looks_only_at_earlier_ones() {
        for (index, projection) in PROJECTIONS.iter().enumerate() {
            for read in projection.reads() {
                assert!(
                    PROJECTIONS[..index].iter().any(|earlier| earlier.name() == *read),
                    "{read}"
                );
            }
        }
    }
}
