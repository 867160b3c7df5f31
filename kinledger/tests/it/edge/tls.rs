//! TLS in the process.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rcgen::generate_simple_self_signed;

use super::{Place, READY_WITHIN, agent, ask};
use crate::support::wait_until;

/// A fresh certificate of this machine in these files; its own authority.
fn certify(cert: &Path, key: &Path) -> String {
    let made = generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    fs::write(key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(cert, made.cert.pem()).unwrap();
    made.cert.pem()
}

#[test]
fn it_speaks_https_with_the_files_it_is_given_and_takes_up_their_successors() {
    let place = Place::new();
    let (cert, key) = (place.file("cert.pem"), place.file("key.pem"));
    let first = certify(&cert, &key);
    let options = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let started = place.start("https", &options);
    let url = format!("{}/readyz", started.base);

    let answer = ask(&agent(Some(&first)), &url, "GET", &[], None).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.header("strict-transport-security"),
        "max-age=31536000; includeSubDomains"
    );
    let plain = ask(&agent(None), &url.replace("https", "http"), "GET", &[], None);
    assert!(plain.is_err(), "nothing is answered in clear");

    // Half of a renewal, and one that fits nothing, leave what there was.
    fs::write(&cert, "not a certificate").unwrap();
    let warned = || {
        fs::read_to_string(&started.log)
            .unwrap()
            .contains("the one before stays")
    };
    assert!(wait_until(READY_WITHIN, warned));
    assert_eq!(ask(&agent(Some(&first)), &url, "GET", &[], None).unwrap().status, 200);

    let second = certify(&cert, &key);
    let is_renewed = || ask(&agent(Some(&second)), &url, "GET", &[], None).is_ok_and(|answer| answer.status == 200);
    assert!(wait_until(READY_WITHIN, is_renewed), "the new certificate is used");
    assert!(
        ask(&agent(Some(&first)), &url, "GET", &[], None).is_err(),
        "and the old one is not"
    );
}

#[test]
fn files_that_cannot_be_used_and_keys_that_others_may_read_are_refused() {
    let place = Place::new();
    let (cert, key, other) = (place.file("cert.pem"), place.file("key.pem"), place.file("other.pem"));
    certify(&cert, &other);
    certify(&cert, &key);
    let refused = |cert: &Path, key: &Path| {
        place.refusal(|command| {
            command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
        })
    };
    assert!(refused(&place.file("none.pem"), &key).contains("none.pem"));
    assert!(refused(&cert, &place.file("none.pem")).contains("none.pem"));
    assert!(refused(&cert, &other).contains("do not belong together"));
    assert!(refused(&cert, &cert).contains("is open to others") || refused(&cert, &cert).contains("no private key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let words = refused(&cert, &key);
    assert!(words.contains("chmod 600") && !words.contains("PRIVATE KEY"), "{words}");
    let alone = place.refusal(|command| {
        command.arg("--tls-cert").arg(&cert);
    });
    assert!(alone.contains("--tls-key"), "{alone}");
}
