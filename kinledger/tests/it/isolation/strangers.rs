//! Two families, each with everything; the one tries every route of the other.

use serde_json::json;

use super::{
    bodies::{of_command, send},
    world::{CANARIES, Ids, Route, furnish, routes},
};
use crate::support::{Household, Kinledger, Reply, register};

#[test]
fn a_family_reads_to_a_stranger_as_if_it_did_not_exist() {
    let kinledger = Kinledger::start();
    let (theirs, ours) = (
        Household::found(&kinledger, "Canary", "EUR"),
        Household::found(&kinledger, "The Others", "EUR"),
    );
    let (ids, own) = (furnish(&theirs), furnish(&ours));
    let nothing = Ids::of_nothing();
    let log = theirs.export();
    let homeless = register(&kinledger, "Nobody");
    let known_key = [("idempotency-key", ids.command.as_str())];
    let precondition = [("if-match", "\"3\"")];
    let cached = theirs.parent.client.get(&format!("{}/accounts", theirs.path())).etag;
    let conditional = [("if-none-match", cached.as_str())];

    let mut walked = 0;
    for route in routes(&kinledger)
        .iter()
        .filter(|route| route.path.contains("{family_id}"))
    {
        for stranger in [&ours.parent, &ours.child, &homeless] {
            for extra in [&[][..], &known_key, &precondition, &conditional] {
                let reply = send(&stranger.client, route, &ids, &ids, extra);
                assert_tells_nothing(route, &reply, &ids);
                // Anybody may found a family at an id of their own; one that is taken reads as unknown.
                if route.command() != Some("create-family") {
                    let nowhere = send(&stranger.client, route, &nothing, &ids, extra);
                    assert_eq!(
                        (reply.status, headers(&reply), reply.text()),
                        (nowhere.status, headers(&nowhere), nowhere.text()),
                        "{} {} {extra:?}",
                        route.method,
                        route.path
                    );
                }
                // The batch answers for each command.
                let wanted = if route.path.ends_with("/commands") { 200 } else { 404 };
                assert_eq!(
                    reply.status,
                    wanted,
                    "{} {}: {}",
                    route.method,
                    route.path,
                    reply.text()
                );
                walked += 1;
            }
        }
        let waiting = format!(
            "{}?min_family_seq=9999999",
            route.path.replace("{family_id}", &ids.family)
        );
        if route.method == "GET" && route.path.ends_with("/members") {
            let (reply, nowhere) = (
                homeless.client.get(&waiting),
                homeless.client.get(&waiting.replace(&ids.family, &nothing.family)),
            );
            assert_eq!(
                (reply.status, headers(&reply), reply.text()),
                (nowhere.status, headers(&nowhere), nowhere.text())
            );
        }
    }
    assert!(walked > 400, "{walked}");

    our_own_commands_cannot_name_their_things(&kinledger, &ours, &own, &ids, &nothing);
    their_invitation_is_theirs(&theirs, &ours);
    assert_eq!(theirs.export(), log, "their log is what it was, byte for byte");
}

/// A stranger asks our family's routes for their things; it must be as with ids that are nowhere.
fn our_own_commands_cannot_name_their_things(
    kinledger: &Kinledger,
    ours: &Household,
    own: &Ids,
    ids: &Ids,
    nothing: &Ids,
) {
    let changes_no_thing = [
        "add-category",
        "add-member",
        "change-notice",
        "create-family",
        "mark-notifications-read",
        "set-country",
    ];
    for route in routes(kinledger)
        .iter()
        .filter(|route| route.path.contains("{family_id}"))
    {
        let path = Ids {
            family: own.family.clone(),
            ..ids.clone()
        };
        let path_of_nothing = Ids {
            family: own.family.clone(),
            ..nothing.clone()
        };
        if route.command().is_some_and(|name| changes_no_thing.contains(&name)) {
            continue;
        }
        let reply = send(&ours.parent.client, route, &path, ids, &[]);
        let nowhere = send(&ours.parent.client, route, &path_of_nothing, nothing, &[]);
        let (mut said, mut said_of_nothing) = (all_of(&reply), all_of(&nowhere));
        for (id, none) in ids.all().into_iter().zip(nothing.all()) {
            said = said.replace(id.as_str(), "it");
            said_of_nothing = said_of_nothing.replace(none.as_str(), "it");
        }
        assert_eq!(
            (reply.status, said),
            (nowhere.status, said_of_nothing),
            "{} {}",
            route.method,
            route.path
        );
        if route.command().is_some() {
            assert!(reply.status >= 400, "{}: {}", route.path, reply.text());
        }
    }
    // One good id of ours does not carry one of theirs.
    let mixed = Ids {
        account: own.account.clone(),
        wallet: ids.wallet.clone(),
        entry: own.entry.clone(),
        ..ids.clone()
    };
    for name in ["add-expense", "transfer", "recategorise-entry", "offer-chore"] {
        let reply = ours.command(&ours.parent, name, &of_command(name, &mixed));
        assert!(reply.status >= 400, "{name}: {}", reply.text());
    }
}

/// What an answer says beside its body, but for the moment and what is left of the asker's own quota.
fn headers(reply: &Reply) -> Vec<(String, String)> {
    let own = ["date", "ratelimit"];
    let headers = reply.headers.iter();
    headers
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .cloned()
        .collect()
}

/// An answer about an id that was asked for. Its tag is made of the question too, and so it differs for any two ids.
fn all_of(reply: &Reply) -> String {
    let mut headers = headers(reply);
    headers.retain(|(name, _)| name != "etag");
    format!("{headers:?}\n{}", reply.text())
}

fn their_invitation_is_theirs(theirs: &Household, ours: &Household) {
    let code = "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV";
    assert_eq!(
        ours.parent
            .client
            .post("/api/v1/auth/join", &json!({"code": code}))
            .refused()
            .0,
        404
    );
    let families = ours.parent.client.get("/api/v1/families").text();
    assert!(!families.contains(&theirs.id));
}

fn assert_tells_nothing(route: &Route, reply: &Reply, ids: &Ids) {
    let said = reply.text();
    for word in CANARIES {
        assert!(
            !said.contains(word),
            "{} {} tells {word}: {said}",
            route.method,
            route.path
        );
    }
    for id in ids.all() {
        assert!(
            !said.contains(id.as_str()),
            "{} {} repeats {id}: {said}",
            route.method,
            route.path
        );
    }
}
