//! A family with a member of every role and something of everything, and who asks it.

use serde_json::{Value, json};

use super::super::world::{Ids, furnish};
use crate::support::{Client, Household, Kinledger, Person, register};

pub struct Family {
    pub household: Household,
    pub ids: Ids,
    pub teens_wallet: String,
    /// A place that nobody has taken.
    pub spare: String,
    everybody: Vec<Asking>,
}

/// Somebody who asks: freshly proven, and with a proof that is an hour old.
#[derive(Clone)]
pub struct Asking {
    pub role: &'static str,
    pub person: Person,
    pub unproven: Client,
}

impl Family {
    pub fn found(kinledger: &Kinledger, name: &str) -> Self {
        let household = Household::found(kinledger, name, "EUR");
        let ids = furnish(&household);
        let auditor = household.invite(kinledger, "Auditor", "auditor");
        let wallet = json!({"name": "Teen's", "kind": "wallet", "owner": household.teen.member_id, "opening_balance": household.money("50")});
        let teens_wallet = household.open_account(&wallet);
        let pocket_money = json!({"from": ids.other_account, "to": ids.wallet, "money": household.money("50")});
        household.accepted(&household.parent, "transfer", &pocket_money);
        let added = household.accepted(
            &household.parent,
            "add-member",
            &json!({"display_name": "Spare", "role": "teen"}),
        );
        let spare = crate::support::payload(&added, "MemberAdded")["member_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let people = [
            ("parent", household.parent.clone()),
            ("partner", household.partner.clone()),
            ("teen", household.teen.clone()),
            ("child", household.child.clone()),
            ("auditor", auditor),
            ("stranger", register(kinledger, "Homeless")),
        ];
        let everybody = an_hour_later(kinledger, people.into());
        Self {
            household,
            ids,
            teens_wallet,
            spare,
            everybody,
        }
    }

    pub fn everybody(&self) -> Vec<Asking> {
        self.everybody.clone()
    }

    /// Proofs count for ten minutes, and a walk takes longer where much else runs.
    pub fn prove_again(&mut self) {
        for asking in &mut self.everybody {
            asking.person = asking.person.proven();
        }
        let house = &mut self.household;
        for person in [&mut house.parent, &mut house.partner, &mut house.teen, &mut house.child] {
            *person = person.proven();
        }
    }

    pub fn path(&self) -> String {
        self.household.path()
    }

    /// The wallet of a teen or child; what the adults keep together for everybody else.
    pub fn account_of(&self, role: &str) -> String {
        match role {
            "teen" => self.teens_wallet.clone(),
            "child" => self.ids.wallet.clone(),
            _ => self.ids.other_account.clone(),
        }
    }

    /// Somebody who is not of this role.
    pub fn other_than(&self, role: &str) -> &Person {
        if role == "child" {
            &self.household.teen
        } else {
            &self.household.child
        }
    }
}

/// Everybody's sessions were proven an hour ago, and what they refresh says so; what they hold already does not.
fn an_hour_later(kinledger: &Kinledger, people: Vec<(&'static str, Person)>) -> Vec<Asking> {
    let running: Value =
        serde_json::from_slice(&std::fs::read(kinledger.data_dir().join("running.json")).unwrap()).unwrap();
    let url = running["database_url"].as_str().unwrap().to_owned();
    let set_back = async {
        let pool = sqlx::PgPool::connect(&url).await?;
        sqlx::query("update identity.sessions set proven_at = proven_at - interval '1 hour'")
            .execute(&pool)
            .await?;
        pool.close().await;
        Ok::<(), sqlx::Error>(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(set_back).unwrap();
    let asking = |(role, person): (&'static str, Person)| {
        let body = json!({"refresh_token": person.refresh_token});
        let tokens = person.client.post("/api/v1/auth/refresh", &body).accepted();
        Asking {
            role,
            unproven: person.client.with_token(tokens["access_token"].as_str().unwrap()),
            person,
        }
    };
    people.into_iter().map(asking).collect()
}
