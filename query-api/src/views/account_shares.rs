//! How the accounts that a member may share are shared.

use domain::{
    actor::Role,
    id::{AccountId, MemberId},
    ledger_account::ShareLevel,
};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{
    error::QueryError,
    params::NoParams,
    scope::held,
    view::{View, Viewer},
};

/// Shares of accounts.
pub struct AccountShares;

/// One member's level on one account.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Share {
    /// The member.
    pub member_id: MemberId,
    /// What they may do: `full`, `annotate`, `view` or `none`.
    pub level: ShareLevel,
    /// May `share-account` change it? Otherwise it follows from the role alone.
    pub may_be_changed: bool,
}

/// One account and how it is shared.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SharedAccount {
    /// The account.
    pub account_id: AccountId,
    /// What the family calls it.
    pub name: String,
    /// The member whose own it is.
    pub owner: Option<MemberId>,
    /// Everybody in the family but its owner, in the order they came.
    pub shares: Vec<Share>,
}

/// Answer of `account-shares`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AccountSharesAnswer {
    /// By name.
    pub accounts: Vec<SharedAccount>,
}

impl View for AccountShares {
    const NAME: &'static str = "account-shares";
    const SUMMARY: &'static str = "Who sees how much of the accounts that the asking member may share";
    const VISIBILITY: &'static str =
        "An adult sees how their own accounts are shared; a parent also how the family's and the children's are.";
    const BY_DAY: Option<&'static str> = None;
    type Params = NoParams;
    type Answer = AccountSharesAnswer;

    async fn read(tx: &mut PgConnection, viewer: &Viewer, _: NoParams) -> Result<AccountSharesAnswer, QueryError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select a.account_id, a.name, a.owner_id, case when os.has_left then null else o.role end as owner_role,
                m.member_id, m.role, s.level,
                coalesce(o.role not in ('teen', 'child'), false) and exists (
                    select from account_shares h
                    where h.family_id = a.family_id and h.account_id = a.account_id and h.level = 'none'
                        and coalesce(h.said_by, a.owner_id) = a.owner_id
                ) as is_hidden_by_a_grown_up
            from accounts a
            left join members o on o.family_id = a.family_id and o.member_id = a.owner_id
            left join standings os on os.family_id = a.family_id and os.member_id = a.owner_id
            join members m on m.family_id = a.family_id and m.member_id is distinct from a.owner_id
            left join account_shares s
                on s.family_id = a.family_id
                and s.account_id = a.account_id
                and s.member_id = m.member_id
            where a.family_id = $1
                and (
                    a.owner_id = $2
                    or ($3 and (a.owner_id is null or (o.role in ('teen', 'child') and os.has_left is not true)))
                )
                and a.account_id <> all($4)
                and not exists (
                    select from standings ms
                    where ms.family_id = m.family_id and ms.member_id = m.member_id and ms.has_left
                )
            order by a.name, a.account_id, m.added_at, m.member_id",
        )
        .bind(viewer.family())
        .bind(viewer.member_id.uuid())
        .bind(viewer.role == Role::Parent)
        .bind(&viewer.hidden_now)
        .fetch_all(tx)
        .await?;
        let mut accounts: Vec<SharedAccount> = Vec::new();
        for row in rows {
            let share = share(&row)?;
            let account_id = AccountId::from_uuid(row.account_id);
            match accounts.last_mut().filter(|last| last.account_id == account_id) {
                Some(account) => account.shares.push(share),
                None => accounts.push(SharedAccount {
                    account_id,
                    name: row.name,
                    owner: row.owner_id.map(MemberId::from_uuid),
                    shares: vec![share],
                }),
            }
        }
        Ok(AccountSharesAnswer { accounts })
    }
}

#[derive(FromRow)]
struct Row {
    account_id: Uuid,
    name: String,
    owner_id: Option<Uuid>,
    owner_role: Option<String>,
    member_id: Uuid,
    role: String,
    level: Option<String>,
    is_hidden_by_a_grown_up: bool,
}

fn share(row: &Row) -> Result<Share, QueryError> {
    let held = held(
        row.owner_id,
        row.owner_role.as_deref(),
        row.level.as_deref(),
        row.is_hidden_by_a_grown_up,
    )?;
    let member_id = MemberId::from_uuid(row.member_id);
    let role: Role = row.role.parse().map_err(|_| QueryError::Row { what: "members" })?;
    Ok(Share {
        member_id,
        level: held.level_for(member_id, role),
        may_be_changed: held.may_be_said(member_id, role),
    })
}
