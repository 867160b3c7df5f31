//! What `domain` may not do is written in domain/clippy.toml, which clippy takes *instead* of the workspace's file.

use std::{collections::BTreeSet, fs, path::Path};

/// The paths that a file forbids.
fn forbidden(file: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let path = |line: &str| Some(line.split_once("path = \"")?.1.split_once('"')?.0.to_owned());
    lines.filter_map(path).collect()
}

#[test]
fn domain_may_do_nothing_that_others_may_not_and_neither_clock_nor_chance_nor_io() {
    let (everywhere, domain) = (forbidden("clippy.toml"), forbidden("domain/clippy.toml"));
    assert!(everywhere.len() >= 12, "{everywhere:?}");
    let missing: Vec<&String> = everywhere.difference(&domain).collect();
    assert!(
        missing.is_empty(),
        "domain/clippy.toml lacks what clippy.toml forbids: {missing:?}"
    );
    for name in [
        "chrono::Utc::now",
        "std::env::var",
        "std::fs::File",
        "std::net::TcpStream",
        "std::time::SystemTime",
        "uuid::Uuid::new_v4",
    ] {
        assert!(domain.contains(name), "{name}");
    }
}
