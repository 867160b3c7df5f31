//! Wherever a secret could be read by somebody it was not given to.

use super::world::World;
use crate::{
    erasure::{
        installation::{Installation, files},
        searching::{Place, dump},
    },
    support::{Client, Reply},
};

/// Files of a data folder that are there to keep what the process needs.
const KEPT_FOR_THE_PROCESS: [&str; 3] = ["data/secret", "data/sealing-key", "data/running.json"];
/// What people see of what is theirs, without the secrets themselves.
const LISTS: [&str; 8] = [
    "/api/v1/auth/api-keys",
    "/api/v1/auth/devices",
    "/api/v1/auth/export",
    "/api/v1/auth/export?format=html",
    "/api/v1/auth/factors",
    "/api/v1/auth/profile",
    "/api/v1/auth/security-events?limit=200",
    "/api/v1/auth/sessions",
];

pub fn everything(world: &mut World) -> Vec<Place> {
    let mut places = world.planted.refusals();
    let mut given = 0;
    for (number, client) in world.people.iter().enumerate() {
        for path in LISTS {
            let reply = client.get(path);
            // Some have signed out meanwhile, and who signs in by a PIN or has not proven themself lately gets no export.
            assert!([200, 401, 403].contains(&reply.status), "{path}: {}", reply.text());
            given += usize::from(reply.status == 200);
            places.push((format!("{path} of person {number}"), reply.body));
        }
    }
    assert!(given > 70, "{given}");
    places.extend(of_family(world));
    places.push(("metrics".to_owned(), whole(world.anybody(), "/metrics").body));
    places.extend(pack(world));
    let kept = world.kinledger.kept();
    places.extend(
        kept.into_iter()
            .filter(|(name, _)| !KEPT_FOR_THE_PROCESS.contains(&name.as_str())),
    );
    places.push(("dump".to_owned(), dump(&world.kinledger.database_url())));
    places
}

/// The log of a family, its trail and what its parents see.
fn of_family(world: &World) -> Vec<Place> {
    let parent = world.family.parent.proven().client;
    let ways = [
        "audit/events?limit=1000",
        "audit/export?format=ndjson",
        "audit/export?format=hledger",
        "audit/export?format=beancount",
        "invitations",
        "members",
        "notifications?limit=200",
        "security-events?limit=200",
    ];
    let of_family = ways.map(|way| format!("{}/{way}", world.family.path()));
    let devices = format!("/api/v1/auth/paired-devices/of/{}", world.family.id);
    let all = of_family.into_iter().chain([devices]);
    all.map(|path| (path.clone(), whole(parent.clone(), &path).body))
        .collect()
}

#[track_caller]
fn whole(client: Client, path: &str) -> Reply {
    let reply = client.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply
}

/// A pack for an auditor.
fn pack(world: &World) -> Vec<Place> {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("pack");
    let to = folder.to_str().unwrap();
    let arguments = ["audit", "export", "--pack", "--family", &world.family.id, "-o", to];
    let output = world
        .kinledger
        .run_with(&arguments, &[("KINLEDGER_KEY", &world.settings.key)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut places = vec![("said of a pack".to_owned(), [output.stdout, output.stderr].concat())];
    files(&folder, "pack", &mut places);
    places
}
