//! The documents promise nothing without a test: every test they name exists, and every promise names one.

use std::{fs, path::Path};

/// The pages that promise something, and how many promises each has at least.
const PAGES: &[(&str, usize)] = &[
    ("docs/guarantees.md", 80),
    ("docs/privacy.md", 8),
    ("docs/security.md", 40),
];

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut wrong = Vec::new();
    for (name, least) in PAGES {
        let page = fs::read_to_string(root.join(name)).unwrap();
        let promises = promises(&page);
        assert!(promises.len() >= *least, "{name} has {} promises", promises.len());
        for line in promises {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [promise, tests] = cells[..] else {
                wrong.push(format!("{name}: not a promise and its tests: {line}"));
                continue;
            };
            let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
            if named.is_empty() {
                wrong.push(format!("{name}: no test holds: {promise}"));
            }
            wrong.extend(named.iter().filter_map(|test| missing(&root, test)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rows of a page's tables of promises; other tables promise nothing.
fn promises(page: &str) -> Vec<&str> {
    let mut is_promise = false;
    let mut found = Vec::new();
    for line in page.lines() {
        match line {
            "| promise | held by |" => is_promise = true,
            "|---|---|" => {}
            line if is_promise && line.starts_with("| ") => found.push(line),
            _ => is_promise = false,
        }
    }
    found
}

/// What is wrong with `path::test`, if anything.
fn missing(root: &Path, name: &str) -> Option<String> {
    let Some((path, test)) = name.rsplit_once("::") else {
        return Some(format!("{name} is not path::test"));
    };
    let Ok(text) = fs::read_to_string(root.join(path)) else {
        return Some(format!("there is no file {path}"));
    };
    let lines: Vec<&str> = text.lines().collect();
    let head = format!("fn {test}(");
    let at = lines
        .iter()
        .position(|line| line.trim_start().trim_start_matches("async ").starts_with(&head));
    let is_run = at.is_some_and(|at| {
        let above = lines[..at].iter().rev();
        let attributes: Vec<&str> = above
            .map(|line| line.trim())
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
            .collect();
        let is_test = |line: &&&str| line.starts_with("#[test") || line.starts_with("#[tokio::test");
        attributes.iter().any(|line| is_test(&line)) && !attributes.iter().any(|line| line.starts_with("#[ignore"))
    });
    (!is_run).then(|| format!("{path} has no test {test} that is run"))
}
