//! Who may do what: the role matrix, as data in one place.
//!
//! A [`Row`] for every operation a family knows (commands, views with their past forms, the other routes), a [`Cell`] in it for
//! everybody who could ask. What runs asks the row: a command when it is decided ([`crate::decide::decide`]), a view before it is
//! read, a route before it does anything; GraphQL and the live feed have to ask the same rows. What is printed comes from it too:
//! `docs/roles.md`, `GET /api/v1/commands`, and `x-roles` in the API's document.
//!
//! A stranger is a signed-in person without a place in the family. To them every family reads as one that does not exist.

mod matrix;

use serde::Serialize;

pub(crate) use matrix::matrix;

use crate::{
    actor::Role, bank_connection::commands::*, budget::commands::*, category::commands::*, chore::commands::*,
    decide::Decide, entry::commands::*, family::commands::*, inbox::commands::*, ledger_account::commands::*,
    rewards::commands::*, spending::commands::*, statement_import::commands::*,
};

/// What somebody may do of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    /// All of it, whatever in the family it is about.
    Yes,
    /// What is their own.
    Own,
    /// What is their own, and accounts that are shared with them (`domain/src/ledger_account/sharing.rs`).
    Shared,
    /// A part of it; the row's sentence says which.
    Part,
    /// When another member approves.
    Approval,
    /// Nothing.
    No,
}

impl Cell {
    /// The word in documents and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Own => "own",
            Self::Shared => "shared",
            Self::Part => "part",
            Self::Approval => "approval",
            Self::No => "no",
        }
    }

    /// Anything at all?
    pub const fn is_any(self) -> bool {
        !matches!(self, Self::No)
    }
}

/// What an operation needs of an account: a level of sharing (`domain/src/ledger_account/sharing.rs`), or more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// It names and shows none.
    Nothing,
    /// That they see it; what they do not see is not shown.
    View,
    /// That they may say what its entries were for.
    Annotate,
    /// That they may move its money.
    Full,
    /// That it is theirs to share.
    Managing,
    /// That no account of the family is hidden from them.
    Everything,
}

impl Needs {
    /// The word in documents; none where no account is named.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::View => Some("view"),
            Self::Annotate => Some("annotate"),
            Self::Full => Some("full"),
            Self::Managing => Some("managing"),
            Self::Everything => Some("everything"),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A member in this role.
    Member(Role),
    /// A signed-in person without a place in the family.
    Stranger,
}

impl Asker {
    /// Everybody, in the order of the columns.
    pub const ALL: [Self; 6] = [
        Self::Member(Role::Parent),
        Self::Member(Role::Partner),
        Self::Member(Role::Teen),
        Self::Member(Role::Child),
        Self::Member(Role::Auditor),
        Self::Stranger,
    ];

    /// The word in documents and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member(role) => role.as_str(),
            Self::Stranger => "stranger",
        }
    }
}

/// What sort of operation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `POST …/commands/{name}`.
    Command,
    /// `GET …/{name}` and `GET …/as-of/{name}`.
    View,
    /// Any other route of a family: method and path below it.
    Route(&'static str, &'static str),
}

/// One operation.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// What sort.
    pub kind: Kind,
    /// Its name: that of the command, the view, or the route.
    pub name: &'static str,
    /// Does it ask for a proof of the last ten minutes of who asks?
    pub step_up: bool,
    /// What it needs of the accounts that it names or shows.
    pub account: Needs,
    /// What the cells cannot say, as a sentence; empty when they say all.
    pub note: &'static str,
    cells: [Cell; 6],
}

impl Row {
    /// What a member of this role may do.
    pub const fn of(&self, role: Role) -> Cell {
        self.cells[role as usize]
    }

    /// What somebody may do.
    pub const fn cell(&self, asker: Asker) -> Cell {
        match asker {
            Asker::Member(role) => self.of(role),
            Asker::Stranger => self.cells[5],
        }
    }

    /// May a member of this role do any of it?
    pub const fn allows(&self, role: Role) -> bool {
        self.of(role).is_any()
    }

    /// The roles that may do any of it.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(|role| self.allows(*role))
    }

    /// Everybody with their word, as documents have it.
    pub fn words(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        Asker::ALL
            .into_iter()
            .map(|asker| (asker.as_str(), self.cell(asker).as_str()))
    }

    /// Who may call it, in a sentence.
    pub fn who(&self) -> String {
        if self.cell(Asker::Stranger).is_any() {
            return "Who may call: any signed-in person.".to_owned();
        }
        let members: Vec<String> = self
            .roles()
            .map(|role| match self.of(role) {
                Cell::Yes => role.as_str().to_owned(),
                cell => format!("{} ({})", role.as_str(), cell.as_str()),
            })
            .collect();
        let mut said = format!("Who may call: a signed-in member who is {}.", members.join(", "));
        for more in [self.note, if self.step_up { STEP_UP } else { "" }] {
            if !more.is_empty() {
                said.push(' ');
                said.push_str(more);
            }
        }
        said
    }
}

const STEP_UP: &str =
    "It needs a sign-in or step-up of the last ten minutes; otherwise it is answered 403 `step-up-required`.";

macro_rules! step_up {
    () => {
        false
    };
    (step_up) => {
        true
    };
}

macro_rules! needs {
    () => {
        Needs::Nothing
    };
    ($needs:ident) => {
        Needs::$needs
    };
}

macro_rules! rows {
    (
        commands { $($command:ident $($step_up_c:ident)? [$($cell_c:ident)+] $(of $needs_c:ident)? $note_c:literal;)+ }
        views { $($view:literal $($step_up_v:ident)? [$($cell_v:ident)+] $(of $needs_v:ident)? $note_v:literal;)+ }
        routes { $($route:literal $method:ident $path:literal $($step_up_r:ident)? [$($cell_r:ident)+] $(of $needs_r:ident)? $note_r:literal;)+ }
    ) => {
        /// Every command a client may post.
        pub const COMMANDS: &[Row] = &[$(Row {
            kind: Kind::Command,
            name: <$command as Decide>::NAME,
            step_up: step_up!($($step_up_c)?),
            account: needs!($($needs_c)?),
            note: $note_c,
            cells: [$(Cell::$cell_c),+],
        },)+];

        /// Every view, for the present and for the past.
        pub const VIEWS: &[Row] = &[$(Row {
            kind: Kind::View,
            name: $view,
            step_up: step_up!($($step_up_v)?),
            account: needs!($($needs_v)?),
            note: $note_v,
            cells: [$(Cell::$cell_v),+],
        },)+];

        /// Every other route of a family.
        pub const ROUTES: &[Row] = &[$(Row {
            kind: Kind::Route(stringify!($method), $path),
            name: $route,
            step_up: step_up!($($step_up_r)?),
            account: needs!($($needs_r)?),
            note: $note_r,
            cells: [$(Cell::$cell_r),+],
        },)+];
    };
}
matrix!(rows);

/// Taking the place that an invitation opens: whoever holds the code, so no role is asked for.
pub const JOIN: &Row = &Row {
    kind: Kind::Route("POST", "/api/v1/auth/join"),
    name: "join",
    step_up: false,
    account: Needs::Nothing,
    note: "With a code, which opens one place, once.",
    cells: [Cell::Yes; 6],
};

/// Writing into a restored log what the register of erasures has: nobody asks for it.
pub const REGISTER: &Row = &Row {
    kind: Kind::Command,
    name: "record-erasure",
    step_up: false,
    account: Needs::Nothing,
    note: "At the start of the service, and by no route.",
    cells: [Cell::No; 6],
};

/// Ending one's place with one's account: grown-ups do, auditors also when their term is over.
pub const CLOSING: &Row = &Row {
    kind: Kind::Command,
    name: "end-own-place",
    step_up: false,
    account: Needs::Nothing,
    note: "When an account is closed, and by no route of its own.",
    cells: [Cell::Own, Cell::Own, Cell::No, Cell::No, Cell::Own, Cell::No],
};

/// Routes that ask nobody to sign in, by method and path. One that is public and not here fails a test.
pub const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/kinledger-log-keys"),
    ("GET", "/api/v1/commands"),
    ("GET", "/api/v1/auth/providers"),
    ("GET", "/api/v1/auth/providers/{provider}/callback"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/readyz"),
    ("POST", "/api/v1/auth/device/challenge"),
    ("POST", "/api/v1/auth/device/unlock"),
    ("POST", "/api/v1/auth/forgot-password"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/login/factor"),
    ("POST", "/api/v1/auth/login/factor/options"),
    ("POST", "/api/v1/auth/login/passkey"),
    ("POST", "/api/v1/auth/login/passkey/options"),
    ("POST", "/api/v1/auth/pairing/claim"),
    ("POST", "/api/v1/auth/pairing/finish"),
    ("POST", "/api/v1/auth/phone/finish"),
    ("POST", "/api/v1/auth/phone/start"),
    ("POST", "/api/v1/auth/providers/{provider}/callback"),
    ("POST", "/api/v1/auth/providers/{provider}/finish"),
    ("POST", "/api/v1/auth/providers/{provider}/start"),
    ("POST", "/api/v1/auth/refresh"),
    ("POST", "/api/v1/auth/register"),
    ("POST", "/api/v1/auth/reset-password"),
];

/// Routes about the signed-in person and nobody else, whatever families they are in: beginnings of paths.
pub const PERSONAL: &[&str] = &["/api/v1/auth/", "/api/v1/families"];

/// What every route of a family begins with, as the API's document writes it.
pub const FAMILY: &str = "/api/v1/families/{family_id}";

/// What the matrix says of a route of the API's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody has to sign in.
    Public,
    /// It is about the person who asks.
    Personal,
    /// It is about a family.
    Row(&'static Row),
}

/// What the matrix says of a route; none when it says nothing.
pub fn of_route(method: &str, path: &str) -> Option<Place> {
    if PUBLIC.contains(&(method, path)) {
        return Some(Place::Public);
    }
    let Some(below) = path.strip_prefix(FAMILY) else {
        let is_personal = PERSONAL
            .iter()
            .any(|beginning| path == *beginning || (beginning.ends_with('/') && path.starts_with(beginning)));
        return is_personal.then_some(Place::Personal);
    };
    let row = ROUTES
        .iter()
        .find(|row| matches!(row.kind, Kind::Route(m, p) if m == method && p == below));
    let row = row.or_else(|| match method {
        "POST" => named(COMMANDS, below.strip_prefix("/commands/")?),
        "GET" => named(
            VIEWS,
            below.strip_prefix("/as-of/").or_else(|| below.strip_prefix('/'))?,
        ),
        _ => None,
    });
    row.map(Place::Row)
}

fn named(rows: &'static [Row], name: &str) -> Option<&'static Row> {
    rows.iter().find(|row| row.name == name)
}

/// The row of a command.
///
/// # Panics
/// When there is none; asked in a constant, as commands do, it does not compile.
pub const fn command(name: &str) -> &'static Row {
    find(COMMANDS, name)
}

/// The row of a view; as [`command`].
///
/// # Panics
/// When there is none.
pub const fn view(name: &str) -> &'static Row {
    find(VIEWS, name)
}

/// The row of a route; as [`command`].
///
/// # Panics
/// When there is none.
pub const fn route(name: &str) -> &'static Row {
    find(ROUTES, name)
}

const fn find(rows: &'static [Row], name: &str) -> &'static Row {
    let mut at = 0;
    while at < rows.len() {
        if is_same(rows[at].name, name) {
            return &rows[at];
        }
        at += 1;
    }
    panic!("the role matrix has no row of this name: add one to domain/src/access/matrix.rs")
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_unique_and_named_after_commands_that_there_are() {
        for rows in [COMMANDS, VIEWS, ROUTES] {
            assert!(
                rows.is_sorted_by(|a, b| a.name < b.name),
                "{:?}",
                rows.iter().map(|row| row.name).collect::<Vec<_>>()
            );
        }
        let commands: Vec<_> = crate::commands::COMMANDS.iter().map(|command| command.name).collect();
        let rows: Vec<_> = COMMANDS.iter().map(|row| row.name).collect();
        assert_eq!(commands, rows);
    }

    #[test]
    fn an_auditor_changes_nothing_and_a_stranger_founds_families_only() {
        for row in COMMANDS.iter().filter(|row| row.name != "create-family") {
            assert!(
                !row.allows(Role::Auditor) || ["erase-member", "leave-family"].contains(&row.name),
                "{}",
                row.name
            );
            assert!(!row.cell(Asker::Stranger).is_any(), "{}", row.name);
        }
        let rest = VIEWS.iter().chain(ROUTES);
        assert!(rest.filter(|row| row.cell(Asker::Stranger).is_any()).count() == 0);
    }

    #[test]
    fn what_only_a_sentence_can_say_has_one() {
        for row in COMMANDS.iter().chain(VIEWS).chain(ROUTES) {
            let has_part = Role::ALL.into_iter().any(|role| row.of(role) == Cell::Part);
            assert!(!has_part || !row.note.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn routes_are_found_by_method_and_path() {
        let row = |method, path: &str| match of_route(method, &format!("{FAMILY}{path}")) {
            Some(Place::Row(row)) => row.name,
            other => panic!("{other:?}"),
        };
        assert_eq!(row("POST", "/commands/add-expense"), "add-expense");
        assert_eq!(row("GET", "/commands/{command_id}"), "receipt");
        assert_eq!(row("POST", "/commands"), "batch");
        assert_eq!(row("GET", "/entries"), "entries");
        assert_eq!(row("GET", "/as-of/entries"), "entries");
        assert_eq!(row("GET", "/audit/as-of"), "statement");
        assert_eq!(of_route("GET", &format!("{FAMILY}/secrets")), None);
        assert_eq!(of_route("GET", "/api/v1/secrets"), None);
        assert_eq!(of_route("POST", "/api/v1/auth/login"), Some(Place::Public));
        assert_eq!(of_route("GET", "/api/v1/auth/profile"), Some(Place::Personal));
    }
}
