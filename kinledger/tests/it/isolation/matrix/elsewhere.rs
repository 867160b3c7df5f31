//! What ends a place or a family, or puts a whole family under other rules, is asked in a family made for that one cell, in which
//! whoever asks has the same role. Founding one is asked at an id that is nobody's yet.

use domain::id::FamilyId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    families::{Asking, Family},
    things::Whose,
};
use crate::support::{Person, consent, payload};

/// A family made for one cell.
struct Made {
    id: String,
    /// Its first parent: who asks when they are a parent, else the parent of the family that is walked.
    founder: Person,
    /// The place of who asks.
    member_id: String,
}

/// The family and the body of a command that is asked in a family of its own; none for every other one, and where there is no such
/// thing as another's.
pub fn made(family: &Family, name: &str, asking: &Asking, whose: Whose) -> Option<(String, Value)> {
    let house = &family.household;
    let found = || Made::found(family, asking);
    let is_own = whose == Whose::Own;
    Some(match (name, asking.role) {
        ("create-family", _) if is_own => {
            let id = FamilyId::from_uuid(Uuid::new_v4()).to_string();
            (
                id,
                json!({"name": NAME, "currency": "EUR", "zone": "Europe/Lisbon", "country": "PT"}),
            )
        }
        // It is offered to them, or to another partner.
        ("accept-handover", _) => {
            let made = found();
            let other = made.joined(&house.teen, "partner");
            let to = if is_own { &made.member_id } else { &other };
            made.done("hand-over-family", &json!({"to": to}));
            made.with(json!({}))
        }
        // An offer of their own, which the walk makes where it is, or of another parent.
        ("withdraw-handover", _) if !is_own => {
            let made = found();
            let partner = made.joined(&house.partner, "partner");
            made.joined(&house.teen, "parent");
            made.done_by(&house.teen, "hand-over-family", &json!({"to": partner}));
            made.with(json!({}))
        }
        // Alone but for a child, or with another adult.
        ("delete-family", _) => {
            let made = found();
            let role = if is_own { "child" } else { "partner" };
            made.joined(&house.child, role);
            made.with(json!({"name": NAME}))
        }
        // With another parent, or as the last one.
        ("leave-family", "parent") => {
            let made = found();
            if is_own {
                made.joined(&house.partner, "parent");
            }
            made.with(json!({}))
        }
        ("leave-family", _) if is_own => found().with(json!({})),
        ("erase-member", "partner" | "auditor") if is_own => {
            let made = found();
            let member_id = made.member_id.clone();
            made.with(json!({"member_id": member_id}))
        }
        ("change-notice", _) if is_own => found().with(json!({"notice_version": 2})),
        ("set-country", _) if is_own => found().with(json!({"country": "FR"})),
        ("give-consent", _) if is_own => {
            let made = found();
            let member_id = made.place("child", None);
            made.with(json!({"member_id": member_id, "method": "signed-form", "notice_version": 1}))
        }
        ("revoke-consent", _) if is_own => {
            let made = found();
            let member_id = made.place("child", Some(consent()));
            made.with(json!({"member_id": member_id}))
        }
        _ => return None,
    })
}

/// A place in another family, and the code that opens it: for whoever has it.
pub fn code(family: &Family, asking: &Asking) -> String {
    let house = &family.household;
    let others = if asking.role == "parent" {
        &house.partner
    } else {
        &house.parent
    };
    let made = Made::founded_by(others);
    let member_id = made.place("partner", None);
    made.invited(&member_id)
}

/// The family of an auditor who asks for several commands at once, one of which is theirs.
pub fn of_a_guest(family: &Family, asking: &Asking) -> String {
    Made::found(family, asking).id
}

const NAME: &str = "The Elsewheres";

impl Made {
    fn found(family: &Family, asking: &Asking) -> Self {
        if asking.role == "parent" {
            return Self::founded_by(&asking.person);
        }
        let mut made = Self::founded_by(&family.household.parent);
        made.member_id = made.joined(&asking.person, asking.role);
        made
    }

    fn founded_by(founder: &Person) -> Self {
        let body = json!({"name": NAME, "currency": "EUR", "zone": "Europe/Lisbon", "country": "PT"});
        let founded = founder.client.post("/api/v1/families", &body).accepted();
        Self {
            id: text(&founded["family_id"]),
            founder: founder.clone(),
            member_id: text(&payload(&founded, "MemberAdded")["member_id"]),
        }
    }

    fn with(self, body: Value) -> (String, Value) {
        (self.id, body)
    }

    fn done(&self, name: &str, body: &Value) -> Value {
        self.done_by(&self.founder, name, body)
    }

    fn done_by(&self, person: &Person, name: &str, body: &Value) -> Value {
        let path = format!("/api/v1/families/{}/commands/{name}", self.id);
        person.client.post(&path, body).accepted()
    }

    /// A place that nobody has taken; a child below the age of consent, with a parent's or without.
    fn place(&self, role: &str, consent: Option<Value>) -> String {
        let mut body = json!({"display_name": "Somebody", "role": role, "age_band": Value::Null});
        if let Some(consent) = consent {
            body["consent"] = consent;
        }
        if role == "child" {
            body["age_band"] = json!("under-13");
        }
        text(&payload(&self.done("add-member", &body), "MemberAdded")["member_id"])
    }

    fn invited(&self, member_id: &str) -> String {
        let path = format!("/api/v1/families/{}/members/{member_id}/invitation", self.id);
        text(&self.founder.client.post(&path, &json!({})).accepted()["code"])
    }

    /// Somebody comes into the family; their place.
    fn joined(&self, person: &Person, role: &str) -> String {
        let member_id = self.place(role, (role == "child").then(consent));
        let code = self.invited(&member_id);
        person
            .client
            .post("/api/v1/auth/join", &json!({"code": code}))
            .accepted();
        member_id
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
