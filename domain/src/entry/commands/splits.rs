//! One amount over one or several categories, the same for expenses and income.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Currency, Money,
    category::{Category, CategoryKind, CategoryRefusal},
    decide::{Context, Stop},
    entry::EntryRefusal,
    id::CategoryId,
    ledger_account::LedgerAccountRefusal,
};

/// Most categories in one entry. Source: ours.
pub const SPLITS_MAX: usize = 50;

/// A part of an amount in one category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The category.
    pub category_id: CategoryId,
    /// More than nothing.
    pub money: Money,
}

/// The parts of `whole`: all of it in `category_id`, or `splits` that sum to it; in categories of `kind`, in `currency`.
pub(super) fn parts(
    context: &Context<'_>,
    whole: Money,
    category_id: Option<CategoryId>,
    splits: &[Split],
    kind: CategoryKind,
    currency: Currency,
) -> Result<Vec<Split>, Stop> {
    if whole.currency() != currency {
        return Err(LedgerAccountRefusal::OtherCurrency {
            account: currency,
            given: whole.currency(),
        }
        .into());
    }
    if !whole.is_positive() {
        return Err(EntryRefusal::NotPositive.into());
    }
    let parts = match (category_id, splits) {
        (Some(category_id), []) => vec![Split {
            category_id,
            money: whole,
        }],
        (None, [_, ..]) if splits.len() > SPLITS_MAX => return Err(EntryRefusal::SplitsMax { max: SPLITS_MAX }.into()),
        (None, [_, ..]) => splits.to_vec(),
        _ => return Err(EntryRefusal::SplitsMissing.into()),
    };
    let mut sum = Money::zero(currency);
    for part in &parts {
        if !part.money.is_positive() {
            return Err(EntryRefusal::NotPositive.into());
        }
        sum = sum
            .checked_add(&part.money)
            .map_err(|problem| EntryRefusal::Money { problem })?;
    }
    if sum != whole {
        return Err(EntryRefusal::SplitsDoNotSum.into());
    }
    for category in context.get_all::<Category>(parts.iter().map(|part| part.category_id.uuid()))? {
        if category.kind()? != kind {
            return Err(CategoryRefusal::WrongKind { wanted: kind.as_str() }.into());
        }
    }
    Ok(parts)
}
