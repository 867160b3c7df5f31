//! Which accounts a member may see: the one place of it for all views.
//!
//! Levels follow from the rows (whose account it is, everybody's roles, what was said) by the rule that commands are decided by,
//! `domain::ledger_account::Held`. A view takes a [`MoneyScope`] and reads no row of an account outside of it: no posting, no sum,
//! no notification, no search hit. Of an entry that moves two accounts only the sides within it are shown.

use std::collections::BTreeMap;

use domain::{
    actor::Role,
    id::{AccountId, MemberId},
    journal::PostingAccount,
    ledger_account::{Held, ShareLevel},
};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{error::QueryError, view::Viewer};

/// What a member sees of the family's money.
#[derive(Clone, Debug)]
pub(crate) struct MoneyScope {
    /// Of every account that the member sees, how much.
    levels: BTreeMap<Uuid, ShareLevel>,
    /// The accounts above, when they are not all there are.
    only: Option<Vec<Uuid>>,
}

impl MoneyScope {
    /// The accounts the member may see; none stands for all.
    pub(crate) fn only(&self) -> Option<&[Uuid]> {
        self.only.as_deref()
    }

    /// The same, as postings name them.
    pub(crate) fn only_named(&self) -> Option<Vec<String>> {
        let name = |id: &Uuid| PostingAccount::Account(AccountId::from_uuid(*id)).to_string();
        self.only().map(|accounts| accounts.iter().map(name).collect())
    }

    /// How much of an account the member has.
    pub(crate) fn level(&self, account: Uuid) -> ShareLevel {
        self.levels.get(&account).copied().unwrap_or(ShareLevel::None)
    }
}

#[derive(FromRow)]
struct Row {
    account_id: Uuid,
    owner_id: Option<Uuid>,
    owner_role: Option<String>,
    level: Option<String>,
    is_hidden_by_a_grown_up: bool,
}

impl Row {
    fn held(&self) -> Result<Held, QueryError> {
        let said = self.level.as_deref();
        held(
            self.owner_id,
            self.owner_role.as_deref(),
            said,
            self.is_hidden_by_a_grown_up,
        )
    }
}

impl Viewer {
    /// What the member may see of the family's money. The young are given a list even when it has all accounts: an account that
    /// is opened next is none of theirs.
    pub(crate) async fn money_scope(&self, tx: &mut PgConnection) -> Result<MoneyScope, QueryError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select a.account_id, a.owner_id, case when os.has_left then null else o.role end as owner_role, s.level,
                coalesce(o.role not in ('teen', 'child'), false) and exists (
                    select from account_shares h
                    where h.family_id = a.family_id and h.account_id = a.account_id and h.level = 'none'
                        and coalesce(h.said_by, a.owner_id) = a.owner_id
                ) as is_hidden_by_a_grown_up
            from accounts a
            left join members o on o.family_id = a.family_id and o.member_id = a.owner_id
            left join standings os on os.family_id = a.family_id and os.member_id = a.owner_id
            left join account_shares s
                on s.family_id = a.family_id
                and s.account_id = a.account_id
                and s.member_id = $2
            where a.family_id = $1",
        )
        .bind(self.family())
        .bind(self.member_id.uuid())
        .fetch_all(tx)
        .await?;
        let all = rows.len();
        let mut levels = BTreeMap::new();
        for row in rows {
            let level = row.held()?.level_for(self.member_id, self.role);
            if level > ShareLevel::None && !self.hidden_now.contains(&row.account_id) {
                levels.insert(row.account_id, level);
            }
        }
        let sees_all = self.sees_all_money() && levels.len() == all;
        let only = (!sees_all).then(|| levels.keys().copied().collect());
        Ok(MoneyScope { levels, only })
    }
}

/// What decides a level, as rows have it.
pub(crate) fn held(
    owner: Option<Uuid>,
    owner_role: Option<&str>,
    said: Option<&str>,
    is_hidden_by_a_grown_up: bool,
) -> Result<Held, QueryError> {
    let role = |text: &str| text.parse::<Role>().map_err(|_| QueryError::Row { what: "members" });
    let level = |text: &str| text.parse().map_err(|_| QueryError::Row { what: "account_shares" });
    Ok(Held {
        owner: owner.map(MemberId::from_uuid),
        owner_role: owner_role.map(role).transpose()?,
        said: said.map(level).transpose()?,
        is_hidden_by_a_grown_up,
    })
}
