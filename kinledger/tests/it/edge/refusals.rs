//! Settings that would protect nobody.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{Place, refusal_of};
use crate::support::program;

#[test]
fn a_part_refuses_a_login_that_nothing_holds_back() {
    let place = Place::new();
    let owner = place.database.as_ref().unwrap().url();
    let words = place.refusal(|command| {
        command.env("DATABASE_URL", &owner);
    });
    assert!(
        words.contains("superuser") && words.contains("--service-login"),
        "{words}"
    );
    // A login of no great power that bypasses the policies is no better.
    let mighty = format!("kinledger_test_bypass_{}", uuid::Uuid::new_v4().simple());
    place.runtime.block_on(async {
        let pool = place.database.as_ref().unwrap().superuser().await;
        let statement =
            format!("create role {mighty} login bypassrls; grant kinledger_reader, kinledger_writer to {mighty}");
        sqlx::raw_sql(&statement).execute(&pool).await.unwrap();
        pool.close().await;
    });
    let words = place.refusal(|command| {
        command.env(
            "DATABASE_URL",
            place.service_url.replace("kinledger_test_service", &mighty),
        );
    });
    place.runtime.block_on(async {
        let pool = place.database.as_ref().unwrap().superuser().await;
        sqlx::raw_sql(&format!("drop role {mighty}"))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    });
    assert!(words.contains("bypasses row-level security"), "{words}");
}

#[test]
fn a_part_refuses_trivial_passwords_of_servers_elsewhere() {
    let place = Place::new();
    // 192.0.2.0/24 is nobody's: a start that got so far would wait for it.
    for (variable, address) in [
        ("DATABASE_URL", "postgres://kinledger:kinledger@192.0.2.1/kinledger"),
        ("DATABASE_URL", "postgres://kinledger:Ch4ngeme!@192.0.2.1/kinledger"),
        (
            "DATABASE_URL",
            "postgres://kinledger_service@192.0.2.1/kinledger?password=postgres",
        ),
        (
            "DATABASE_URL",
            "postgres://192.0.2.1/kinledger?user=kinledger_service&password=kinledger_service",
        ),
        (
            "DATABASE_URL",
            "postgres://kinledger_service@localhost/kinledger?h%6Fst=192.0.2.1&p%61ssword=p%6Fstgres",
        ),
        ("REDIS_URL", "redis://:password@192.0.2.1:6379"),
        ("REDIS_URL", "redis://:password@192.0.2.1:6379?host=localhost"),
    ] {
        let words = place.refusal(|command| {
            command.env(variable, address);
        });
        assert!(words.contains(variable) && words.contains("openssl rand"), "{words}");
    }
    // Where the address is silent, the variables of Postgres count.
    let words = place.refusal(|command| {
        command.env("DATABASE_URL", "postgres:///kinledger").envs([
            ("PGHOST", "192.0.2.1"),
            ("PGUSER", "kinledger_service"),
            ("PGPASSWORD", "postgres"),
        ]);
    });
    assert!(words.contains("openssl rand") && words.contains("192.0.2.1"), "{words}");
}

#[test]
fn a_part_refuses_a_placeholder_for_its_secret_and_never_repeats_it() {
    let place = Place::new();
    for placeholder in [
        "0".repeat(64),
        "0123456789abcdef".repeat(4),
        "change-me".to_owned(),
        String::new(),
    ] {
        let words = place.refusal(|command| {
            command.env("KINLEDGER_SECRET", &placeholder);
        });
        assert!(
            words.contains("openssl rand") || words.contains("KINLEDGER_SECRET"),
            "{words}"
        );
        assert!(placeholder.is_empty() || !words.contains(&placeholder), "{words}");
    }
}

#[test]
fn settings_of_the_edge_that_say_nothing_clear_are_refused() {
    let place = Place::new();
    for (variable, value) in [
        ("KINLEDGER_CORS_ORIGINS", "*"),
        ("KINLEDGER_CORS_ORIGINS", "https://*.example.org"),
        ("KINLEDGER_TRUSTED_PROXIES", "everybody"),
        ("KINLEDGER_RATE_LIMITS", "auth/planet=3"),
    ] {
        place.refusal(|command| {
            command.env(variable, value);
        });
    }
}

/// A file that others may read.
fn open_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn a_part_refuses_files_of_secrets_that_others_may_read_and_never_repeats_them() {
    let place = Place::new();
    let file = place.file("kept");
    open_file(&file, "correct horse battery staple");
    for variable in ["KINLEDGER_SMTP_PASSWORD_FILE", "KINLEDGER_SMS_TOKEN_FILE"] {
        let words = place.refusal(|command| {
            command.env(variable, &file);
        });
        assert!(
            words.contains("chmod 600") && !words.contains("correct horse"),
            "{words}"
        );
    }
    let mut sealer = program();
    sealer
        .args(["serve", "sealer", "--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", &place.service_url)
        .env("KINLEDGER_SEALING_KEY_FILE", &file);
    let words = refusal_of(sealer);
    assert!(
        words.contains("chmod 600") && !words.contains("correct horse"),
        "{words}"
    );
}

#[test]
fn a_secret_that_others_may_read_keeps_the_whole_from_starting() {
    for name in ["secret", "sealing-key"] {
        let folder = tempfile::Builder::new().prefix("kinledger-edge-").tempdir().unwrap();
        open_file(&folder.path().join(name), &super::secret());
        let mut whole = program();
        whole
            .arg("up")
            .arg("--data-dir")
            .arg(folder.path())
            .args(["--listen", "127.0.0.1:0"]);
        let words = refusal_of(whole);
        assert!(words.contains("chmod 600") && words.contains(name), "{words}");
    }
}

#[test]
fn operators_tools_take_no_secret_that_others_may_read() {
    let folder = tempfile::Builder::new().prefix("kinledger-edge-").tempdir().unwrap();
    open_file(&folder.path().join("secret"), &super::secret());
    let mut tool = program();
    tool.args(["parked", "list", "--data-dir"]).arg(folder.path());
    let words = refusal_of(tool);
    assert!(words.contains("chmod 600"), "{words}");
}
