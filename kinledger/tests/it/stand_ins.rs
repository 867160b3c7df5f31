//! Whoever is denied a young member's pocket is given no key to it: no invitation to their place, no device that signs in as them.

use serde_json::{Value, json};

use crate::support::{Household, Kinledger, Reply, payload, register};

const HIDDEN: (u16, &str) = (403, "accounts-hidden");

fn refused(reply: &Reply) -> (u16, String) {
    reply.refused()
}

#[test]
fn a_partner_from_whom_a_pocket_is_hidden_gets_no_key_to_it() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Pockets", "EUR");
    let (parent, partner) = (&family.parent, &family.partner);
    let place = json!({"display_name": "Newcomer", "role": "teen", "age_band": "16-or-over"});
    let place = payload(&family.accepted(parent, "add-member", &place), "MemberAdded")["member_id"].clone();
    let of = |what: &str| format!("{}/members/{}/{what}", family.path(), place.as_str().unwrap());
    let ask = |what: &str| partner.client.post(&of(what), &json!({}));

    // What a partner may as long as nothing is hidden.
    let code = ask("invitation").accepted()["code"].clone();
    assert_eq!(ask("pairing").status, 201);
    let pocket = json!({"name": "Pocket", "kind": "wallet", "owner": place});
    let pocket = family.open_account(&pocket);
    assert_eq!(ask("pairing").status, 201);

    let share = |level: &str| json!({"account_id": pocket, "member_id": partner.member_id, "level": level});
    family.accepted(parent, "share-account", &share("none"));
    for what in ["invitation", "pairing"] {
        let (status, problem) = refused(&ask(what));
        assert_eq!((status, problem.as_str()), HIDDEN, "{what}");
    }
    // Nor does a code open the place that they had before.
    let second = register(&kinledger, "Second");
    let join = |code: &Value| second.client.post("/api/v1/auth/join", &json!({"code": code}));
    assert_eq!(join(&code).refused(), (404, "unknown-invitation".to_owned()));
    // A parent goes on, and so does the partner once it is shown again.
    assert_eq!(parent.client.post(&of("pairing"), &json!({})).status, 201);
    family.accepted(parent, "share-account", &share("view"));
    assert_eq!(ask("pairing").status, 201);
    let code = ask("invitation").accepted()["code"].clone();
    join(&code).accepted();
}
