//! What is shipped to run the parts apart: a setting in `.env` reaches its part, and the gateway believes and logs what it should.

mod gateway;

use std::{collections::BTreeMap, fs, path::Path};

use crate::support::program;

/// What `.env` does not say to command-api, and why.
const NOT_FROM_ENV: [(&str, &str); 14] = [
    ("KINLEDGER_CHECKPOINTS_TO", "the sealer's"),
    ("KINLEDGER_CHECKPOINTS_TOKEN", "the sealer's"),
    ("KINLEDGER_CONNECTIONS", "the gateway is the only client"),
    ("KINLEDGER_CONNECTIONS_PER_ADDRESS", "the gateway is the only client"),
    (
        "KINLEDGER_CONNECTION_IDLE_SECONDS",
        "the Caddyfile counts on its default",
    ),
    ("KINLEDGER_ERASURES_FILE", "compose.yaml has a volume for it"),
    ("KINLEDGER_KEY_FILE", "compose.yaml takes the key itself"),
    ("KINLEDGER_LISTEN", "the gateway knows the port"),
    ("KINLEDGER_OLD_KEY_FILE", "only while keys are rotated, by hand"),
    ("KINLEDGER_SEALING_KEY_FILE", "the sealer's"),
    ("KINLEDGER_SEAL_EVERY", "the sealer's"),
    ("KINLEDGER_TLS_CERT", "TLS ends in front of the gateway"),
    ("KINLEDGER_TLS_KEY", "TLS ends in front of the gateway"),
    ("KINLEDGER_TOPIC", "the relay's and the projectors'"),
];

/// Options that an empty value is refused for: they are left out when unset, or have their default said.
const REFUSES_EMPTY: [&str; 9] = [
    "KINLEDGER_BREACHED_PASSWORDS_FILE",
    "KINLEDGER_CORS_ORIGINS",
    "KINLEDGER_EMAIL_VERIFICATION",
    "KINLEDGER_PASSWORD_CHARACTERS_MIN",
    "KINLEDGER_RATE_LIMITS_EXCEPT",
    "KINLEDGER_SIGN_IN_PROVIDERS_FILE",
    "KINLEDGER_SMS_TOKEN_FILE",
    "KINLEDGER_SMTP_AUTHORITIES_FILE",
    "KINLEDGER_SMTP_PASSWORD_FILE",
];

#[test]
fn every_setting_of_command_api_reaches_it_from_the_file_of_settings() {
    let compose = Compose::read();
    let handed_on = compose.environment("command-api");
    let example = settings_of_the_example();
    let settings = settings_of_command_api();
    let listed = NOT_FROM_ENV.iter().map(|(name, _)| name).chain(&REFUSES_EMPTY);
    for name in listed {
        assert!(settings.iter().any(|known| known == name), "there is no {name}");
    }
    for name in settings {
        let value = handed_on.get(&name).map(String::as_str);
        if NOT_FROM_ENV.iter().any(|(known, _)| *known == name) {
            assert!(!value.is_some_and(|value| takes(value, &name)), "{name} is handed on");
            continue;
        }
        let value = value.unwrap_or_else(|| panic!("compose.yaml does not hand on {name} to command-api"));
        assert!(takes(value, &name), "{name} is always {value}");
        assert!(example.contains(&name), "{name} is not in .env.example");
        if REFUSES_EMPTY.contains(&name.as_str()) {
            let has_default = value.contains(&format!("${{{name}:-")) && !value.ends_with(":-}");
            assert!(
                value.is_empty() || has_default,
                "{name} is handed on empty when it is unset: {value}"
            );
        }
    }
}

#[test]
fn every_variable_of_compose_is_in_the_example() {
    let example = settings_of_the_example();
    for found in Compose::read().text.split("${").skip(1) {
        let name: String = found.chars().take_while(|c| is_of_a_name(*c)).collect();
        assert!(example.contains(&name), "{name} is not in .env.example");
    }
}

#[test]
fn pages_of_other_origins_may_ask_every_part_behind_the_gateway() {
    let compose = Compose::read();
    for part in ["command-api", "query-api", "replay-api", "reactors"] {
        assert!(
            compose.environment(part).contains_key("KINLEDGER_CORS_ORIGINS"),
            "{part}"
        );
    }
}

#[test]
fn command_api_reaches_the_mail_server_and_reads_the_files_that_are_named_to_it() {
    let compose = Compose::read();
    let part = compose.service("command-api");
    assert!(part.contains(&"    networks: [inner, outer]"), "{part:?}");
    assert!(
        part.iter()
            .any(|line| line.contains("${KINLEDGER_FILES:-") && line.ends_with(":/etc/kinledger:ro\"")),
        "{part:?}"
    );
}

/// The text of compose.yaml, read by its indentation: there is no reader of YAML here.
struct Compose {
    text: String,
}

impl Compose {
    fn read() -> Self {
        Self {
            text: shipped("compose.yaml"),
        }
    }

    fn service(&self, name: &str) -> Vec<&str> {
        let services = below(self.text.lines(), "services:");
        below(services.into_iter(), &format!("  {name}:"))
    }

    /// A service's variables with their values, those of the anchors it takes in too.
    fn environment(&self, service: &str) -> BTreeMap<String, String> {
        let service = self.service(service);
        let alias = service.iter().find_map(|line| line.strip_prefix("    environment: *"));
        let mut found = BTreeMap::new();
        match alias {
            Some(anchor) => self.take_in(anchor, &mut found),
            None => self.collect(&below(service.into_iter(), "    environment:"), &mut found),
        }
        found
    }

    fn collect(&self, lines: &[&str], found: &mut BTreeMap<String, String>) {
        for line in lines.iter().map(|line| line.trim()) {
            if let Some(anchor) = line.strip_prefix("<<: *") {
                self.take_in(anchor, found);
            } else if let Some((name, value)) = line.split_once(':')
                && !name.is_empty()
                && name.chars().all(is_of_a_name)
            {
                found.insert(name.to_owned(), value.trim().to_owned());
            }
        }
    }

    fn take_in(&self, anchor: &str, found: &mut BTreeMap<String, String>) {
        let key = format!("x-{anchor}: &{anchor}");
        let lines = below(self.text.lines(), &key);
        assert!(!lines.is_empty(), "no {key}");
        self.collect(&lines, found);
    }
}

/// The lines that stand deeper than the line `key`, up to the next that does not.
fn below<'a>(lines: impl Iterator<Item = &'a str>, key: &str) -> Vec<&'a str> {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let deeper = |line: &&str| line.trim().is_empty() || indentation(line) > indentation(key);
    lines
        .skip_while(|line| *line != key)
        .skip(1)
        .take_while(deeper)
        .collect()
}

/// Is the variable's value the one that `.env` gives it?
fn takes(value: &str, name: &str) -> bool {
    value.is_empty() || value.contains(&format!("${{{name}:"))
}

/// Every variable that the program's own help names.
fn settings_of_command_api() -> Vec<String> {
    let output = program().args(["serve", "command-api", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let words = help.split(|c| !is_of_a_name(c));
    let mut names: Vec<_> = words
        .filter(|word| word.starts_with("KINLEDGER_"))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 20, "{help}");
    names
}

fn settings_of_the_example() -> Vec<String> {
    let example = shipped(".env.example");
    let settings = example.lines().filter_map(|line| line.split_once('='));
    settings
        .map(|(name, _)| name.trim_start_matches('#').to_owned())
        .filter(|name| !name.is_empty() && name.chars().all(is_of_a_name))
        .collect()
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// A file of the repository.
fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}
