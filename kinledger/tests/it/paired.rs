//! A teen on a telephone that a parent has paired, with the real ledger behind it.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    authenticators::{Asked, Authenticators, ORIGIN},
    support::{Client, Household, Kinledger, PASSWORD, Person, Reply, consent, payload, register, wait_until},
};

const PIN: &str = "27491308";

/// A telephone, and the member it signs in.
struct Telephone {
    pair: Ed25519KeyPair,
    device_id: Value,
    member: Person,
}

/// A telephone that has claimed a pairing, and that a parent has confirmed.
struct Confirmed {
    pair: Ed25519KeyPair,
    claim: String,
    member_id: String,
}

impl Confirmed {
    fn by(kinledger: &Kinledger, family: &Household, parent: &Person, member_id: String) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let path = format!("{}/members/{member_id}/pairing", family.path());
        let started = parent.client.post(&path, &json!({})).accepted();
        let secret = started["secret"].as_str().unwrap();
        let claim = json!({
            "code": secret, "device_name": "Telephone", "algorithm": "ed25519",
            "public_key": URL_SAFE_NO_PAD.encode(pair.public_key()), "signature": Telephone::sign(&pair, "claim", secret),
        });
        let claimed = kinledger.client().post("/api/v1/auth/pairing/claim", &claim).accepted();
        let confirm = format!(
            "/api/v1/auth/pairings/{}/confirm",
            started["pairing_id"].as_str().unwrap()
        );
        let confirmed = parent
            .client
            .post(&confirm, &json!({"match_code": claimed["match_code"]}));
        assert_eq!(confirmed.status, 204, "{}", confirmed.text());
        let claim = claimed["claim"].as_str().unwrap().to_owned();
        Self { pair, claim, member_id }
    }

    fn finish(&self, anybody: &Client) -> Reply {
        let signature = Telephone::sign(&self.pair, "finish", &self.claim);
        let finish = json!({"claim": self.claim, "pin": PIN, "signature": signature});
        anybody.post("/api/v1/auth/pairing/finish", &finish)
    }
}

/// A teen's place that nobody has taken, with a parent's consent.
fn place_of_a_teen(family: &Household, parent: &Person) -> String {
    let body = json!({"display_name": "Tilda", "role": "teen", "consent": consent()});
    let added = family.accepted(parent, "add-member", &body);
    payload(&added, "MemberAdded")["member_id"].as_str().unwrap().to_owned()
}

impl Telephone {
    fn sign(pair: &Ed25519KeyPair, purpose: &str, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(pair.sign(format!("kinledger/{purpose}/1\n{text}").as_bytes()))
    }

    /// A new teen of the family, signed in on a telephone that this parent or partner has paired.
    fn of_a_teen(kinledger: &Kinledger, family: &Household, paired_by: &Person) -> Self {
        let anybody = kinledger.client();
        let place = place_of_a_teen(family, &family.parent);
        let confirmed = Confirmed::by(kinledger, family, paired_by, place);
        let finished = confirmed.finish(&anybody).accepted();
        let tokens = &finished["tokens"];
        Self {
            pair: confirmed.pair,
            device_id: finished["device_id"].clone(),
            member: Person {
                member_id: confirmed.member_id,
                client: anybody.with_token(tokens["access_token"].as_str().unwrap()),
                email: String::new(),
                refresh_token: tokens["refresh_token"].as_str().unwrap().to_owned(),
            },
        }
    }

    fn unlock(&self, kinledger: &Kinledger) -> (u16, Value) {
        let answer = self.unlock_by(&kinledger.client(), "pin", |_| json!(PIN));
        (answer.status, answer.json())
    }

    /// By the PIN or the passkey, which is made of the challenge.
    fn unlock_by(&self, anybody: &Client, by: &str, shown: impl FnOnce(&str) -> Value) -> Reply {
        let asking = json!({"device_id": self.device_id});
        let challenge = anybody.post("/api/v1/auth/device/challenge", &asking).accepted();
        let challenge = challenge["challenge"].as_str().unwrap();
        let mut body = json!({
            "device_id": self.device_id, "challenge": challenge, "signature": Self::sign(&self.pair, "unlock", challenge),
        });
        body[by] = shown(challenge);
        anybody.post("/api/v1/auth/device/unlock", &body)
    }

    fn unlock_by_passkey(&self, anybody: &Client, keys: &mut Authenticators) -> Reply {
        self.unlock_by(anybody, "passkey", |challenge| {
            let options =
                json!({"publicKey": {"challenge": challenge, "rpId": "localhost", "userVerification": "required"}});
            keys.ask("get", &options, &Asked::default())
        })
    }

    fn add_a_passkey(&self, keys: &mut Authenticators) {
        let path = "/api/v1/auth/device/passkey";
        let options = self
            .member
            .client
            .post(&format!("{path}/options"), &json!({}))
            .accepted();
        let credential = keys.ask("create", &options, &Asked::default());
        let added = self.member.client.post(path, &json!({"credential": credential}));
        assert_eq!(added.status, 204, "{}", added.text());
    }

    fn refresh(&self, anybody: &Client) -> Reply {
        let token = &self.member.refresh_token;
        let body = json!({"refresh_token": token, "device_signature": Self::sign(&self.pair, "refresh", token)});
        anybody.post("/api/v1/auth/refresh", &body)
    }

    fn is_signed_in(&self) -> bool {
        let status = self.member.client.get("/api/v1/auth/profile").status;
        assert!(status == 200 || status == 401, "{status}");
        status == 200
    }

    /// Is its session refused within five seconds?
    fn ends(&self) -> bool {
        wait_until(Duration::from_secs(5), || !self.is_signed_in())
    }
}

#[test]
fn a_pin_founds_no_family() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Telephones", "EUR");
    let teen = Telephone::of_a_teen(&kinledger, &family, &family.parent);
    let body = json!({"name": "The Secret Club", "currency": "EUR", "zone": "Europe/Lisbon", "country": "PT"});
    let founded = teen.member.client.post("/api/v1/families", &body);
    assert_eq!(founded.refused(), (403, "paired-account".to_owned()));
    let id = uuid::Uuid::new_v4();
    let by_command = format!("/api/v1/families/fam_{id}/commands/create-family");
    let founded = teen.member.client.post(&by_command, &body);
    assert_eq!(founded.refused(), (403, "paired-account".to_owned()));
    assert_eq!(
        family.view(&teen.member, "members")["members"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
}

#[test]
fn an_open_session_ends_with_the_parent_who_answers_for_its_telephone() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Telephones", "EUR");
    let second = family.invite(&kinledger, "Second", "parent");
    let of_first = Telephone::of_a_teen(&kinledger, &family, &family.parent);
    let of_second = Telephone::of_a_teen(&kinledger, &family, &second);
    assert_eq!(of_first.member.client.get("/api/v1/auth/profile").status, 200);

    let body = json!({"member_id": family.parent.member_id});
    family.accepted(&second, "remove-member", &body);
    assert!(of_first.ends());
    let (status, refused) = of_first.unlock(&kinledger);
    assert_eq!((status, &refused["type"]), (403, &json!("/problems/device-locked")));
    assert_eq!(of_second.member.client.get("/api/v1/auth/profile").status, 200);
}

#[test]
fn an_open_session_ends_when_a_pocket_is_hidden_from_who_answers_for_its_telephone() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Telephones", "EUR");
    let (parent, partner) = (&family.parent, &family.partner);
    let other = family.invite(&kinledger, "Other", "partner");
    let of_partner = Telephone::of_a_teen(&kinledger, &family, partner);
    let of_sibling = Telephone::of_a_teen(&kinledger, &family, partner);
    let grown = Telephone::of_a_teen(&kinledger, &family, partner);
    let pocket = json!({"name": "Pocket", "kind": "wallet", "owner": of_partner.member.member_id});
    let pocket = family.open_account(&pocket);
    let share = |with: &Person, level: &str| {
        let body = json!({"account_id": pocket, "member_id": with.member_id, "level": level});
        family.accepted(parent, "share-account", &body);
    };
    // What somebody else sees ends nothing. When the third telephone's session has ended, all three were looked at since.
    share(&other, "none");
    let role = json!({"member_id": grown.member.member_id, "role": "partner"});
    family.accepted(parent, "change-role", &role);
    assert!(grown.ends());
    assert!(of_partner.is_signed_in() && of_sibling.is_signed_in());

    assert!(
        family
            .view(&of_partner.member, "accounts")
            .to_string()
            .contains(&pocket)
    );
    share(partner, "none");
    assert!(of_partner.ends());
    let accounts = of_partner.member.client.get(&format!("{}/accounts", family.path()));
    assert_eq!(accounts.status, 401);
    let (status, refused) = of_partner.unlock(&kinledger);
    assert_eq!((status, &refused["type"]), (403, &json!("/problems/device-locked")));
    assert!(of_sibling.is_signed_in(), "nothing of theirs is hidden");
    // They cannot take it upon themselves again; a parent can.
    let unlock = of_partner.device_id.as_str().unwrap();
    let unlock = format!("/api/v1/auth/paired-devices/{unlock}/unlock");
    let refused = partner.client.post(&unlock, &json!({}));
    assert_eq!(refused.refused(), (403, "accounts-hidden".to_owned()));
    assert_eq!(parent.client.post(&unlock, &json!({})).status, 204);
    assert_eq!(of_partner.unlock(&kinledger).0, 200);
}

#[test]
fn an_open_session_by_pin_ends_when_its_member_is_made_an_adult() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Telephones", "EUR");
    let teen = Telephone::of_a_teen(&kinledger, &family, &family.parent);
    let body = json!({"member_id": teen.member.member_id, "role": "partner"});
    family.accepted(&family.parent, "change-role", &body);
    assert!(teen.ends());
    let (status, refused) = teen.unlock(&kinledger);
    assert_eq!((status, &refused["type"]), (403, &json!("/problems/not-young")));
}

#[test]
fn who_is_made_an_adult_takes_an_account_of_their_own_and_keeps_what_they_have() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Telephones", "EUR");
    let teen = Telephone::of_a_teen(&kinledger, &family, &family.parent);
    let member_id = &teen.member.member_id;
    let body = json!({"title": "Mow the lawn", "points": 2, "offered_to": member_id});
    let offered = family.accepted(&family.parent, "offer-chore", &body);
    let chore = json!({"chore_id": offered["events"][0]["aggregate_id"]});
    family.accepted(&teen.member, "claim-chore", &chore);
    let user_id = teen.member.client.get("/api/v1/auth/profile").accepted()["user_id"].clone();
    let role = json!({"member_id": member_id, "role": "partner"});
    family.accepted(&family.parent, "change-role", &role);

    let invitation = format!("{}/members/{member_id}/invitation", family.path());
    let code = family.parent.client.post(&invitation, &json!({})).accepted()["code"].clone();
    let body = json!({
        "code": code, "email": "tilda@example.org", "password": "correct horse battery staple", "display_name": "Tilda",
    });
    let own = kinledger
        .client()
        .post("/api/v1/auth/join/own-account", &body)
        .accepted();
    assert_eq!(own["user_id"], user_id);
    assert!(teen.ends());
    let again = family.parent.client.post(&invitation, &json!({}));
    assert_eq!(again.refused(), (422, "already-joined".to_owned()));

    // The same member, with an adult's rights, by a password.
    let tilda = Person {
        member_id: member_id.clone(),
        client: kinledger.client().with_token(own["access_token"].as_str().unwrap()),
        email: "tilda@example.org".to_owned(),
        refresh_token: own["refresh_token"].as_str().unwrap().to_owned(),
    };
    family.accepted(&tilda, "add-category", &json!({"name": "Garden", "kind": "expense"}));
    let changed = json!({"member_id": family.child.member_id, "role": "teen"});
    assert_eq!(family.refused(&tilda, "change-role", &changed).0, 403);
    let members = family.view(&tilda, "members");
    let own_place = members["members"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["member_id"] == **member_id);
    assert_eq!(own_place.unwrap()["role"], "partner");

    // Their trail and their export begin with the telephone.
    let trail = tilda.client.get("/api/v1/auth/security-events").accepted();
    let kinds: Vec<&str> = trail["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["kind"].as_str())
        .collect();
    assert!(
        kinds.contains(&"device-paired") && kinds.contains(&"registered"),
        "{kinds:?}"
    );
    let export = tilda.client.get("/api/v1/auth/export").text();
    for kept in ["device-paired", "tilda@example.org", "Telephone", "ChoreClaimed"] {
        assert!(export.contains(kept), "{kept}: {export}");
    }
}

#[test]
fn a_parent_takes_no_teens_place_by_the_code_they_made_and_so_keeps_none_when_they_are_removed() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Telephones", "EUR");
    let leaver = family.invite(&kinledger, "Leaver", "parent");
    let teen = Telephone::of_a_teen(&kinledger, &family, &family.parent);
    let path = format!("{}/members/{}/invitation", family.path(), teen.member.member_id);
    let code = leaver.client.post(&path, &json!({})).accepted()["code"].clone();
    let body = json!({
        "code": code, "email": "leaver2@example.org", "password": "correct horse battery staple", "display_name": "Tilda",
    });
    for client in [&kinledger.client(), &leaver.client] {
        let refused = client.post("/api/v1/auth/join/own-account", &body).refused();
        assert_eq!(refused, (403, "paired-device-required".to_owned()));
    }
    family.accepted(&family.parent, "remove-member", &json!({"member_id": leaver.member_id}));
    let refused = kinledger
        .client()
        .post("/api/v1/auth/join/own-account", &body)
        .refused();
    assert_eq!(refused, (404, "unknown-invitation".to_owned()));
    assert_eq!(teen.member.client.get("/api/v1/auth/profile").status, 200);

    // The teen does, on their telephone.
    let code = family.parent.client.post(&path, &json!({})).accepted()["code"].clone();
    let body = json!({
        "code": code, "email": "tilda@example.org", "password": "correct horse battery staple", "display_name": "Tilda",
    });
    teen.member
        .client
        .post("/api/v1/auth/join/own-account", &body)
        .accepted();
    assert!(teen.ends());
}

#[test]
fn nobody_from_whom_a_pocket_is_hidden_invites_its_owner_to_an_account_of_their_own() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Telephones", "EUR");
    let teen = Telephone::of_a_teen(&kinledger, &family, &family.parent);
    let pocket = json!({"name": "Pocket", "kind": "wallet", "owner": teen.member.member_id});
    let pocket = family.open_account(&pocket);
    let hidden = json!({"account_id": pocket, "member_id": family.partner.member_id, "level": "none"});
    family.accepted(&family.parent, "share-account", &hidden);
    let path = format!("{}/members/{}/invitation", family.path(), teen.member.member_id);
    let refused = family.partner.client.post(&path, &json!({}));
    assert_eq!(refused.refused(), (403, "accounts-hidden".to_owned()));
    let code = family.parent.client.post(&path, &json!({})).accepted()["code"].clone();
    assert!(code.as_str().is_some_and(|code| !code.is_empty()));

    // Grown up, it is as it was: the pocket is hidden from the partner alone, and a parent invites them.
    let role = json!({"member_id": teen.member.member_id, "role": "partner"});
    family.accepted(&family.parent, "change-role", &role);
    let refused = family.partner.client.post(&path, &json!({}));
    assert_eq!(refused.refused(), (403, "accounts-hidden".to_owned()));
    let code = family.parent.client.post(&path, &json!({})).accepted()["code"].clone();
    let body = json!({
        "code": code, "email": "grown@example.org", "password": "correct horse battery staple", "display_name": "Tilda",
    });
    let taken = kinledger.client().post("/api/v1/auth/join/own-account", &body);
    assert_eq!(taken.status, 201, "{}", taken.text());
    for (person, sees) in [(&family.parent, true), (&family.partner, false)] {
        assert_eq!(family.view(person, "accounts").to_string().contains(&pocket), sees);
    }
}

#[test]
fn consent_taken_back_closes_a_telephone_and_every_code_until_it_is_given_anew() {
    let kinledger = Kinledger::start_with(&[("KINLEDGER_PUBLIC_URL", ORIGIN.to_owned())]);
    let (family, anybody) = (
        Household::found(&kinledger, "The Telephones", "EUR"),
        kinledger.client(),
    );
    let (parent, newcomer) = (&family.parent, register(&kinledger, "Newcomer"));
    let mut keys = Authenticators::start();
    // While there is consent: a telephone in use, one that has but to set its PIN, and codes for a place and for an own account.
    let teen = Telephone::of_a_teen(&kinledger, &family, parent);
    teen.add_a_passkey(&mut keys);
    assert_eq!(teen.unlock(&kinledger).0, 200);
    assert_eq!(teen.unlock_by_passkey(&anybody, &mut keys).status, 200);
    let waiting = Confirmed::by(&kinledger, &family, parent, place_of_a_teen(&family, parent));
    let place = place_of_a_teen(&family, parent);
    let code_for = |member_id: &str| {
        let path = format!("{}/members/{member_id}/invitation", family.path());
        parent.client.post(&path, &json!({})).accepted()["code"].clone()
    };
    let (joining, owning) = (code_for(&place), code_for(&teen.member.member_id));
    let owning = json!({
        "code": owning, "email": "tilda@example.org", "password": PASSWORD, "display_name": "Tilda",
    });
    // What ends the telephone comes last.
    let mut ways = || {
        [
            ("PIN", teen.unlock_by(&anybody, "pin", |_| json!(PIN))),
            ("passkey", teen.unlock_by_passkey(&anybody, &mut keys)),
            ("refresh", teen.refresh(&anybody)),
            ("first PIN", waiting.finish(&anybody)),
            (
                "code",
                newcomer.client.post("/api/v1/auth/join", &json!({"code": joining})),
            ),
            (
                "own account",
                teen.member.client.post("/api/v1/auth/join/own-account", &owning),
            ),
        ]
    };

    let members = [&teen.member.member_id, &waiting.member_id, &place];
    for member_id in members {
        family.accepted(parent, "revoke-consent", &json!({"member_id": member_id}));
    }
    // What is kept of the telephone's account a parent takes along for them, and of nobody's who signs in by themself.
    let export = |member_id: &str| {
        let path = format!("{}/members/{member_id}/export", family.path());
        parent.client.get(&path).accepted()
    };
    let theirs = export(&teen.member.member_id);
    for section in ["account", "sessions", "paired_devices", "security_events"] {
        let rows = theirs[section].as_array().unwrap();
        assert!(!rows.is_empty(), "{section}: {theirs}");
    }
    assert!(export(&family.teen.member_id).get("sessions").is_none());
    let required = || (403, "consent-required".to_owned());
    for (way, reply) in ways() {
        assert_eq!(reply.refused(), required(), "{way}");
    }
    let passkey = teen
        .member
        .client
        .post("/api/v1/auth/device/passkey/options", &json!({}));
    assert_eq!(passkey.refused(), required());
    let of_family = |client: &Client| client.get(&format!("{}/accounts", family.path()));
    assert!(wait_until(Duration::from_secs(5), || of_family(&teen.member.client)
        .status
        == 403));
    assert_eq!(of_family(&teen.member.client).refused(), required());
    // Nobody has come, and nothing was opened meanwhile.
    let families = newcomer.client.get("/api/v1/families").accepted();
    assert!(!families.to_string().contains(&family.id), "{families}");

    for member_id in members {
        let given = json!({"member_id": member_id, "method": "signed-form", "notice_version": 1});
        family.accepted(parent, "give-consent", &given);
    }
    for (way, reply) in ways() {
        assert!((200..300).contains(&reply.status), "{way}: {}", reply.text());
    }
}
