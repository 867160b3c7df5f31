//! `docs/guarantees.md` promises nothing without a test: every test it names exists, and every promise names one.

use std::{fs, path::Path};

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let mut promises = 0;
    let mut wrong = Vec::new();
    for line in page
        .lines()
        .filter(|line| line.starts_with("| ") && *line != "| promise | held by |")
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [promise, tests] = cells[..] else {
            wrong.push(format!("not a promise and its tests: {line}"));
            continue;
        };
        promises += 1;
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            wrong.push(format!("no test holds: {promise}"));
        }
        wrong.extend(named.iter().filter_map(|name| missing(&root, name)));
    }
    assert!(promises >= 30, "the page's tables were not read: {promises} promises");
    assert!(wrong.is_empty(), "docs/guarantees.md:\n{}", wrong.join("\n"));
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
