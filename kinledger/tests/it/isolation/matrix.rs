//! The role matrix, cell by cell: every operation that the API's document has, asked by everybody who could ask, of their own
//! family and of another, about what is theirs and what is not, and of every account at every level of sharing. What comes back
//! is what the table says. In the end the walk is held against the table itself: a cell that nobody asked for fails it.

mod elsewhere;
mod families;
mod levels;
mod things;

use std::collections::{BTreeMap, BTreeSet};

use domain::access::{Asker, COMMANDS, JOIN, Kind, Place, ROUTES, VIEWS, of_route};
use serde_json::{Value, json};

use self::{
    families::{Asking, Family},
    things::{Whose, fresh, prepared},
};
use super::{
    bodies::send,
    world::{Route, routes},
};
use crate::support::{Kinledger, Reply};

/// Cells that are walked at least: a walk that shrinks is noticed.
const CELLS_MIN: usize = 2_100;

/// A cell, by its row and who asks; the past of a view is walked by itself.
type Cell = (String, &'static str);

#[test]
fn every_cell_of_the_role_matrix_is_what_the_table_says() {
    let kinledger = Kinledger::start();
    let routes = of_families(&routes(&kinledger));
    let mut walk = Walk {
        ours: Family::found(&kinledger, "The Matrix"),
        theirs: Family::found(&kinledger, "The Others"),
        cells: BTreeMap::new(),
        accepted: BTreeSet::new(),
        refused: BTreeSet::new(),
    };
    walk.another_family_is_not_there(&routes);
    walk.what_a_role_may_not_is_refused(&routes);
    walk.an_old_proof_is_not_enough(&routes);
    walk.ours.prove_again();
    walk.what_a_role_may_is_done(&routes);
    walk.whoever_has_a_code_takes_the_place_that_it_opens();
    walk.a_family_that_there_is_is_not_founded_again();
    walk.no_cell_of_the_table_is_left_out();
    walk.every_account_that_is_named_has_a_level_that_is_needed(&routes);
    walk.every_level_of_every_account_is_what_the_row_says(&routes);
    let cells: usize = walk.cells.values().sum();
    println!("walked {cells} cells of {} operations: {:?}", routes.len(), walk.cells);
    assert!(cells >= CELLS_MIN, "only {cells} cells were walked");
}

/// The routes of families; every other one is listed as public or personal.
fn of_families(routes: &[Route]) -> Vec<Route> {
    let mut of_families = Vec::new();
    for route in routes {
        let roles = &route.operation["x-roles"];
        let name = format!("{} {}", route.method, route.path);
        assert!(
            !roles.is_null(),
            "{name} has no row in the role matrix: add one to domain/src/access/matrix.rs, or list it in PUBLIC or PERSONAL of access.rs"
        );
        assert_eq!(
            roles == "public",
            route.is_public(),
            "{name}: public routes, and no others, are listed in PUBLIC of domain/src/access.rs"
        );
        assert_eq!(roles.is_object(), route.path.contains("{family_id}"), "{name}: {roles}");
        if roles.is_object() {
            of_families.push(route.clone());
        }
    }
    of_families
}

struct Walk {
    ours: Family,
    theirs: Family,
    cells: BTreeMap<String, usize>,
    /// Cells in which something was accepted.
    accepted: BTreeSet<Cell>,
    /// Cells in which everything was refused.
    refused: BTreeSet<Cell>,
}

impl Walk {
    fn count(&mut self, word: &str) {
        *self.cells.entry(word.to_owned()).or_default() += 1;
    }

    /// Every member of ours, and who is nobody's, asks the other family for everything.
    fn another_family_is_not_there(&mut self, routes: &[Route]) {
        let log = self.theirs.household.export();
        for route in routes {
            for asking in self.ours.everybody() {
                let reply = send(&asking.person.client, route, &self.theirs.ids, &self.theirs.ids, &[]);
                assert_reads_as_no_family(route, &asking, &reply);
                self.count("another family's");
            }
        }
        assert_eq!(self.theirs.household.export(), log, "nothing of it changed anything");
    }

    /// Of their own family: 403 for whatever the table says no to, and 404 for who is not in it.
    fn what_a_role_may_not_is_refused(&mut self, routes: &[Route]) {
        let log = self.ours.household.export();
        for route in routes {
            for asking in self.ours.everybody() {
                if word(route, &asking) != "no" {
                    continue;
                }
                let reply = send(&asking.person.client, route, &self.ours.ids, &self.ours.ids, &[]);
                if asking.role == "stranger" {
                    assert_reads_as_no_family(route, &asking, &reply);
                } else {
                    assert_eq!(reply.refused().0, 403, "{}: {}", said(route, &asking), reply.text());
                }
                self.count("no");
                self.refused.insert(cell(route, &asking));
            }
        }
        assert_eq!(self.ours.household.export(), log, "nothing of it changed anything");
    }

    /// Whoever may, may not with a proof that is an hour old.
    fn an_old_proof_is_not_enough(&mut self, routes: &[Route]) {
        for route in routes.iter().filter(|route| route.operation["x-step-up"] == true) {
            for asking in self.ours.everybody() {
                let reply = send(&asking.unproven, route, &self.ours.ids, &self.ours.ids, &[]);
                assert_eq!(
                    reply.refused(),
                    (403, "step-up-required".to_owned()),
                    "{}",
                    said(route, &asking)
                );
                self.count("old proof");
            }
        }
    }

    /// All of it, or what is their own and not what is another's.
    fn what_a_role_may_is_done(&mut self, routes: &[Route]) {
        for route in routes {
            for asking in self.ours.everybody() {
                let word = word(route, &asking);
                if word == "no" {
                    continue;
                }
                for whose in [Whose::Own, Whose::Anothers] {
                    let Some(request) = prepared(&self.ours, route, &asking, whose) else {
                        continue;
                    };
                    let reply = request.sent(&asking);
                    let is_theirs_to_do = word == "yes" || whose == Whose::Own;
                    if is_theirs_to_do || request.shows_less() {
                        assert!(
                            (200..300).contains(&reply.status),
                            "{} {whose:?} {word}: {} {}",
                            said(route, &asking),
                            reply.status,
                            reply.text()
                        );
                        self.accepted.insert(cell(route, &asking));
                    } else {
                        assert!(
                            (400..500).contains(&reply.status),
                            "{} {whose:?} {word}: {} {}",
                            said(route, &asking),
                            reply.status,
                            reply.text()
                        );
                    }
                    let is_young = ["teen", "child"].contains(&asking.role);
                    request.check_what_it_shows(&reply, &said(route, &asking), word == "yes" || !is_young);
                    self.count(&format!("{word}, {}", whose.as_str()));
                }
            }
        }
    }

    /// The one row that is about a family and stands below none.
    fn whoever_has_a_code_takes_the_place_that_it_opens(&mut self) {
        let Kind::Route(_, path) = JOIN.kind else {
            panic!("joining is a route")
        };
        for asking in self.ours.everybody() {
            let code = elsewhere::code(&self.ours, &asking);
            let joined = asking.person.client.post(path, &json!({"code": code}));
            assert_eq!(joined.status, 200, "{path} by a {}: {}", asking.role, joined.text());
            self.count("yes, own");
            self.accepted.insert((JOIN.name.to_owned(), asking.role));
        }
    }

    /// Not by who is in it either; another's reads as unknown, above.
    fn a_family_that_there_is_is_not_founded_again(&mut self) {
        let log = self.ours.household.export();
        let body = json!({"name": "Again", "currency": "EUR"});
        let path = self.ours.household.command_path("create-family");
        for asking in self.ours.everybody() {
            let code = if asking.role == "stranger" {
                "unknown-family"
            } else {
                "family-exists"
            };
            let refused = asking.person.client.post(&path, &body).refused();
            assert_eq!(refused.1, code, "create-family by a {}", asking.role);
            self.count("founded already");
        }
        assert_eq!(self.ours.household.export(), log, "nothing of it changed anything");
    }

    /// The table's own list of what there is, asked for what became of each cell: views twice, for the present and for the past.
    fn no_cell_of_the_table_is_left_out(&self) {
        let rows = COMMANDS.iter().chain(VIEWS).chain(ROUTES).chain([JOIN]);
        let named = rows.map(|row| (row.name.to_owned(), row));
        let past = VIEWS.iter().map(|row| (format!("as-of/{}", row.name), row));
        let (mut may, mut may_not) = (BTreeSet::new(), BTreeSet::new());
        for (name, row) in named.chain(past) {
            for asker in Asker::ALL {
                let cells = if row.cell(asker).is_any() {
                    &mut may
                } else {
                    &mut may_not
                };
                cells.insert((name.clone(), asker.as_str()));
            }
        }
        let left_out: Vec<&Cell> = may.symmetric_difference(&self.accepted).collect();
        assert!(
            left_out.is_empty(),
            "who may was not walked, or not accepted: {left_out:?}"
        );
        let left_out: Vec<&Cell> = may_not.symmetric_difference(&self.refused).collect();
        assert!(left_out.is_empty(), "who may not was not walked: {left_out:?}");
        println!(
            "{} cells in which something is accepted, {} in which nothing is",
            may.len(),
            may_not.len()
        );
    }
}

/// The cell of the table that a route and who asks for it meet in.
fn cell(route: &Route, asking: &Asking) -> Cell {
    let Some(Place::Row(row)) = of_route(&route.method, &route.path) else {
        panic!("{} {} has no row", route.method, route.path)
    };
    let past = if route.path.contains("/as-of/") { "as-of/" } else { "" };
    (format!("{past}{}", row.name), asking.role)
}

fn word<'r>(route: &'r Route, asking: &Asking) -> &'r str {
    route.operation["x-roles"][asking.role]
        .as_str()
        .expect("a word for everybody")
}

fn said(route: &Route, asking: &Asking) -> String {
    format!("{} {} by a {}", route.method, route.path, asking.role)
}

/// As a family that does not exist; a batch says so of each command.
fn assert_reads_as_no_family(route: &Route, asking: &Asking, reply: &Reply) {
    if route.path.ends_with("/commands") {
        let results = reply.json();
        let statuses: Vec<&Value> = results["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["status"])
            .collect();
        assert!(
            !statuses.is_empty() && statuses.iter().all(|status| **status == 404),
            "{}: {results}",
            said(route, asking)
        );
        return;
    }
    assert_eq!(
        reply.refused(),
        (404, "unknown-family".to_owned()),
        "{}",
        said(route, asking)
    );
}
