//! Settings that would protect nobody.

use std::{fs, os::unix::fs::PermissionsExt};

use super::Place;
use crate::support::{program, wait_until};

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
        ("REDIS_URL", "redis://:password@192.0.2.1:6379"),
    ] {
        let words = place.refusal(|command| {
            command.env(variable, address);
        });
        assert!(words.contains(variable) && words.contains("openssl rand"), "{words}");
    }
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

#[test]
fn a_secret_that_others_may_read_keeps_the_whole_from_starting() {
    let folder = tempfile::Builder::new().prefix("kinledger-edge-").tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, super::secret()).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let mut child = program()
        .arg("up")
        .arg("--data-dir")
        .arg(folder.path())
        .args(["--listen", "127.0.0.1:0"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let has_ended = wait_until(super::READY_WITHIN, || child.try_wait().unwrap().is_some());
    if !has_ended {
        crate::support::signal("-TERM", child.id());
    }
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(has_ended && output.status.code() == Some(1), "{words}");
    assert!(words.contains("chmod 600"), "{words}");
}
