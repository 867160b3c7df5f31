//! `docs/roles.md`: the role matrix for people to read.

use domain::access::{Asker, COMMANDS, Cell, JOIN, Kind, ROUTES, Row, VIEWS};

const BEGINNING: &str = "\
<!-- Generated from domain/src/access/matrix.rs by `make contracts`. -->

# Who may do what

This is the role matrix that runs: commands, views, past views and every other route of a family ask it, and nothing else decides which role may ask.
A test walks every cell of it over HTTP, views also in the past, and every account that is named or shown at each level of sharing; it fails when it leaves one out (`kinledger/tests/it/isolation/matrix.rs`).

| word | means |
|---|---|
| yes | all of it, whatever in the family it is about |
| own | what is their own |
| shared | what is their own, and accounts that are shared with them |
| part | a part of it; the last column says which |
| approval | when another member approves |
| – | nothing |

*Account* says what has to be shared with who asks, of each account that the operation names or shows: to see it (`view`), to say what its entries were for (`annotate`), to move its money (`full`), that it is theirs to share (`managing`), or that none of the family's is hidden from them (`everything`).
An account that is not shared at all reads as one that does not exist, 404; one that is shared too little is answered 403 `share-too-small`.
What is shared with whom stands in [ADR 0035](adr/0035-shares-of-accounts.md).

*Proof* marks what asks for a sign-in or step-up of the last ten minutes (`POST /api/v1/auth/step-up`); without one it is answered 403 `step-up-required`.

A stranger is somebody signed in who has no place in the family: to them it reads as a family that does not exist, 404, whatever they ask.
Who is in a family but may not is answered 403.
";

/// The page.
pub fn page() -> String {
    let mut page = BEGINNING.to_owned();
    page += "\n## Commands\n\n`POST /api/v1/families/{family_id}/commands/{name}`, alone or in a batch.\n\n";
    page += &table(COMMANDS.iter());
    page += "\n## Views\n\n`GET /api/v1/families/{family_id}/{name}`, and `…/as-of/{name}` for the past: the role one has now decides what one sees of it.\n\n";
    page += &table(VIEWS.iter());
    page += "\n## Other operations\n\n";
    page += &table(ROUTES.iter().chain([JOIN]));
    page
}

fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let askers: Vec<&str> = Asker::ALL.iter().map(|asker| asker.as_str()).collect();
    let mut table = format!(
        "| operation | {} | account | proof | |\n|---|{}\n",
        askers.join(" | "),
        "---|".repeat(askers.len() + 3)
    );
    for row in rows {
        let cells: Vec<&str> = Asker::ALL.iter().map(|asker| word(row.cell(*asker))).collect();
        let proof = if row.step_up { "proof" } else { "" };
        let account = row.account.as_str().unwrap_or_default();
        let name = match row.kind {
            Kind::Route(method, path) => format!("{} (`{method} {}`)", row.name, short(path)),
            Kind::Command | Kind::View => format!("`{}`", row.name),
        };
        table += &format!(
            "| {name} | {} | {account} | {proof} | {} |\n",
            cells.join(" | "),
            row.note
        );
    }
    table
}

fn word(cell: Cell) -> &'static str {
    match cell {
        Cell::No => "–",
        cell => cell.as_str(),
    }
}

/// A path below the family; one that is not below it stands whole.
fn short(path: &str) -> String {
    match path.strip_prefix("/api") {
        Some(_) => path.to_owned(),
        None => format!("…{path}"),
    }
}
