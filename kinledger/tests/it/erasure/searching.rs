//! Everywhere a text could be found.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    process::Command,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use query_api::views::VIEWS;

use super::{
    installation::{Installation, files},
    planting::Planted,
};
use crate::support::{Household, Person};

/// Parameters that show all there is, where a view has any.
const ALL: &[(&str, &str)] = &[
    ("chores", "status=all"),
    ("entries", "limit=200"),
    ("leaderboard", "period=all"),
    ("notifications", "limit=200"),
    ("spending", "from=2024-01-01&to=2027-12-31"),
    ("spending-requests", "status=all"),
];

/// A place by name, and what is in it.
pub type Place = (String, Vec<u8>);

/// Which of the texts are in which places: as they are, in hexadecimal as dumps write bytes, or in base64 at any alignment.
pub fn found(texts: &[String], places: &[Place]) -> BTreeMap<String, BTreeSet<String>> {
    let forms = Forms::of(texts);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, bytes) in places {
        for text in forms.within(bytes) {
            found.entry(texts[text].clone()).or_default().insert(name.clone());
        }
    }
    found
}

/// Bytes of a form by which it is looked up.
const HEAD: usize = 6;

/// How each text may be written, by its first bytes.
struct Forms {
    by_head: HashMap<[u8; HEAD], Vec<(Vec<u8>, usize)>>,
    begins: Vec<bool>,
}

impl Forms {
    fn of(texts: &[String]) -> Self {
        let mut forms = Self {
            by_head: HashMap::new(),
            begins: vec![false; 1 << 16],
        };
        for (index, text) in texts.iter().enumerate() {
            forms.add(text.as_bytes(), index);
            forms.add(hex::encode(text).as_bytes(), index);
            forms.add(hex::encode_upper(text).as_bytes(), index);
            for before in 0..3 {
                let bytes = [&[0; 3][..before], text.as_bytes()].concat();
                // The first characters hold something of what stands before, the last of what comes after.
                let within = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
                forms.add(&STANDARD_NO_PAD.encode(&bytes).as_bytes()[within.clone()], index);
                forms.add(&URL_SAFE_NO_PAD.encode(&bytes).as_bytes()[within], index);
            }
        }
        forms
    }

    fn add(&mut self, form: &[u8], text: usize) {
        let head: [u8; HEAD] = form[..HEAD].try_into().unwrap();
        self.begins[usize::from(u16::from_be_bytes([head[0], head[1]]))] = true;
        self.by_head.entry(head).or_default().push((form.to_vec(), text));
    }

    fn within(&self, bytes: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for (at, window) in bytes.windows(HEAD).enumerate() {
            if self.begins[usize::from(u16::from_be_bytes([window[0], window[1]]))]
                && let Some(forms) = self.by_head.get(window)
            {
                let rest = &bytes[at..];
                found.extend(
                    forms
                        .iter()
                        .filter(|(form, _)| rest.starts_with(form))
                        .map(|(_, text)| *text),
                );
            }
        }
        found
    }
}

#[test]
fn a_text_is_found_however_it_is_written() {
    let texts = ["zq000planted".to_owned(), "zq001absent".to_owned()];
    let text = &texts[0];
    let mut written = vec![text.clone(), hex::encode(text), hex::encode_upper(text)];
    for before in ["", "x", "xy"] {
        for after in ["", "x", "xy"] {
            written.push(STANDARD_NO_PAD.encode(format!("{before}{text}{after}")));
        }
    }
    for written in written {
        let place = ("a place".to_owned(), format!("before {written} after").into_bytes());
        let found = found(&texts, &[place]);
        assert_eq!(found.keys().collect::<Vec<_>>(), [text], "{written}");
    }
}

/// Every view there is as it is now, in the eyes of a person who may see all of them.
pub fn views(family: &Household, person: &Person) -> Vec<Place> {
    VIEWS
        .iter()
        .map(|view| asked(family, person, &with_all(view.name)))
        .collect()
}

/// Every view as it was, some way into the history and at its end.
fn past_views(family: &Household, person: &Person) -> Vec<Place> {
    let mut places = Vec::new();
    for view in VIEWS {
        let way = format!("as-of/{}", with_all(view.name));
        let separator = if way.contains('?') { '&' } else { '?' };
        places.push(asked(family, person, &format!("{way}{separator}family_seq=150")));
        places.push(asked(family, person, &way));
    }
    places
}

fn with_all(view: &str) -> String {
    let all = ALL.iter().find(|(name, _)| *name == view);
    all.map_or_else(|| view.to_owned(), |(name, query)| format!("{name}?{query}"))
}

fn asked(family: &Household, person: &Person, way: &str) -> Place {
    let reply = person.client.get(&format!("{}/{way}", family.path()));
    assert_eq!(reply.status, 200, "{way}: {}", reply.text());
    (way.to_owned(), reply.body)
}

/// Everything: views, exports, receipts, a pack, the whole database, files, and what was logged and printed.
pub fn everything(installation: &impl Installation, family: &Household, planted: &Planted) -> Vec<Place> {
    let parent = family.parent.proven();
    let mut places = views(family, &parent);
    places.extend(past_views(family, &parent));
    let exports = ["ndjson", "hledger", "beancount"].map(|format| format!("audit/export?format={format}"));
    let others = [
        "audit/events?limit=1000".to_owned(),
        "audit/as-of".to_owned(),
        "invitations".to_owned(),
        "security-events?limit=200".to_owned(),
        format!("commands/{}", planted.key),
    ];
    places.extend(
        exports
            .into_iter()
            .chain(others)
            .map(|way| asked(family, &parent, &way)),
    );
    // What others are told, and what they may take with them.
    for person in [&family.teen, &family.child, &family.partner] {
        places.push(asked(family, person, "notifications?limit=200"));
        places.push(asked(family, person, "members"));
    }
    for format in ["json", "html"] {
        let export = parent.client.get(&format!("/api/v1/auth/export?format={format}"));
        assert_eq!(export.status, 200, "{}", export.text());
        places.push((format!("the parent's own export as {format}"), export.body));
    }
    places.push(("dump".to_owned(), dump(&installation.database_url())));
    places.extend(pack(installation, family));
    places.extend(installation.kept());
    places
}

/// A pack for an auditor.
fn pack(installation: &impl Installation, family: &Household) -> Vec<Place> {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("pack");
    let to = folder.to_str().unwrap();
    let output = installation.command(&["audit", "export", "--pack", "--family", &family.id, "-o", to]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut places = Vec::new();
    files(&folder, "pack", &mut places);
    places
}

/// The whole database, all schemas, as text.
pub fn dump(database_url: &str) -> Vec<u8> {
    let dumped = Command::new("pg_dump")
        .args(["--no-owner", database_url])
        .output()
        .expect("pg_dump is there, for it comes with Postgres");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    dumped.stdout
}
