//! The notice about children's data has changed in substance, so consent is asked for again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{Context, Decide, Decision, Stop},
    family::{Family, FamilyRefusal, NoticeChanged},
};

/// The notice about children's data has changed in substance: consent to an earlier version is none to this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeNotice {
    /// The version from now on, higher than the one before.
    pub notice_version: u32,
}

impl Decide for ChangeNotice {
    const NAME: &'static str = "change-notice";
    const SUMMARY: &'static str = "Ask for consent again: the notice about children's data has changed";

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        let rules = context.family()?.rules_said()?;
        if self.notice_version <= rules.notice_version {
            return Err(FamilyRefusal::OldNotice {
                version: rules.notice_version,
            }
            .into());
        }
        let mut decision = Decision::default();
        let changed = NoticeChanged {
            notice_version: self.notice_version,
        };
        decision.record::<Family>(context.meta().family_id.uuid(), changed.into(), context.today()?);
        Ok(decision)
    }
}
