//! hledger and beancount, the real ones: do they accept a file, and what balances do they compute?

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use domain::Money;

/// Balances by kind, the family's own name and currency, nothing left out but zeros.
pub type Sums = BTreeMap<(String, String, String), Money>;

/// Where beancount's checker is said to be.
const BEAN_CHECK_VARIABLE: &str = "KINLEDGER_BEAN_CHECK";

fn run(program: &Path, arguments: &[&str], what: &str) -> Output {
    Command::new(program)
        .args(arguments)
        // hledger reads files in the locale's encoding.
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| {
            panic!("{what} cannot be run ({error}): run the tests with `make test`, which fetches it")
        })
}

fn words_of(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn bean_check() -> PathBuf {
    std::env::var_os(BEAN_CHECK_VARIABLE).map_or_else(|| PathBuf::from("bean-check"), PathBuf::from)
}

/// Runs `hledger check --strict`.
pub fn hledger_accepts(file: &Path) -> Result<(), String> {
    let file = file.to_str().expect("a path");
    let output = run(Path::new("hledger"), &["-f", file, "check", "--strict"], "hledger");
    if output.status.success() {
        Ok(())
    } else {
        Err(words_of(&output))
    }
}

/// Runs `bean-check`, without its cache.
pub fn beancount_accepts(file: &Path) -> Result<(), String> {
    let output = run(
        &bean_check(),
        &["--no-cache", file.to_str().expect("a path")],
        "beancount's bean-check",
    );
    // Warnings count: it prints nothing for a file without any.
    if output.status.success() && words_of(&output).is_empty() {
        Ok(())
    } else {
        Err(words_of(&output))
    }
}

/// The journal as hledger writes it again: in the order of days.
pub fn hledger_prints(file: &Path) -> String {
    let file = file.to_str().expect("a path");
    let output = run(Path::new("hledger"), &["-f", file, "print", "--explicit"], "hledger");
    assert!(output.status.success(), "{}", words_of(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// hledger's own balances.
pub fn hledger_balances(file: &Path) -> Sums {
    let text = std::fs::read_to_string(file).expect("the file is there");
    let names = names_of(&text, "; ", "account ", true);
    let path = file.to_str().expect("a path");
    let arguments = [
        "-f",
        path,
        "balance",
        "--flat",
        "--empty",
        "--no-total",
        "--layout=bare",
        "-O",
        "csv",
    ];
    let output = run(Path::new("hledger"), &arguments, "hledger");
    assert!(output.status.success(), "{}", words_of(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    sums(
        text.lines()
            .skip(1)
            .map(|line| line.trim_matches('"').split("\",\"").collect()),
        &names,
    )
}

/// beancount's own balances, summed by its own Python from the postings it read.
pub fn beancount_balances(file: &Path) -> Sums {
    const SUM: &str = "
import sys
from collections import defaultdict
from beancount import loader
from beancount.core import data
entries, errors, options = loader.load_file(sys.argv[1])
assert not errors, errors
sums = defaultdict(int)
for entry in entries:
    if isinstance(entry, data.Transaction):
        for posting in entry.postings:
            sums[posting.account, posting.units.currency] += posting.units.number
for (account, currency), number in sorted(sums.items()):
    print(account, currency, format(number, 'f'), sep='\\t')
";
    let text = std::fs::read_to_string(file).expect("the file is there");
    let names = names_of(&text, "  name: ", " open ", false);
    let output = run(
        &python_of(&bean_check()),
        &["-c", SUM, file.to_str().expect("a path")],
        "beancount's Python",
    );
    assert!(output.status.success(), "{}", words_of(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    sums(text.lines().map(|line| line.split('\t').collect()), &names)
}

/// The Python that a script's first line names.
fn python_of(script: &Path) -> PathBuf {
    let on_path = || {
        std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|dir| dir.join(script))
            .find(|file| file.is_file())
    };
    let script = if script.is_file() {
        script.to_owned()
    } else {
        on_path().unwrap_or_else(|| script.to_owned())
    };
    let text = std::fs::read_to_string(&script).unwrap_or_else(|error| {
        panic!("beancount's bean-check cannot be found ({error}): run the tests with `make test`, which fetches it")
    });
    let first = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("#!"))
        .expect("bean-check is a Python script");
    PathBuf::from(first.trim())
}

/// Names in the file → the family's own, from the two lines of each declaration.
fn names_of(text: &str, own_prefix: &str, declaration: &str, own_stands_above: bool) -> BTreeMap<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    let name = |pair: &[&str]| {
        let (own, declared) = if own_stands_above {
            (pair[0], pair[1])
        } else {
            (pair[1], pair[0])
        };
        let own: String = serde_json::from_str(own.strip_prefix(own_prefix)?).ok()?;
        let (_, declared) = declared.split_once(declaration)?;
        Some((declared.split(' ').next()?.to_owned(), own))
    };
    lines.windows(2).filter_map(name).collect()
}

fn sums<'a>(rows: impl Iterator<Item = Vec<&'a str>>, names: &BTreeMap<String, String>) -> Sums {
    let mut sums = Sums::new();
    for row in rows {
        let [name, currency, amount] = row[..] else {
            panic!("three columns: {row:?}")
        };
        let money = Money::parse(amount, currency.parse().expect("a code")).expect("an amount at the currency's scale");
        if !money.is_zero() {
            let own = names.get(name).unwrap_or_else(|| panic!("{name} is declared"));
            sums.insert((kind_of(name).to_owned(), own.clone(), currency.to_owned()), money);
        }
    }
    sums
}

fn kind_of(name: &str) -> &'static str {
    const ROOTS: &[(&str, &str)] = &[
        ("Assets:Bank:", "bank"),
        ("Assets:Cash:", "cash"),
        ("Assets:Wallet:", "wallet"),
        ("Equity:", "equity"),
        ("Expenses:", "expense"),
        ("Income:", "income"),
        ("Liabilities:Card:", "card"),
    ];
    ROOTS
        .iter()
        .find(|(root, _)| name.starts_with(root))
        .map(|(_, kind)| *kind)
        .expect("a known root")
}
