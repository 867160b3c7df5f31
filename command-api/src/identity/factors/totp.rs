//! Time-based one-time passwords (RFC 6238 over RFC 4226): HMAC-SHA-1, six digits, steps of 30 seconds, as authenticator apps
//! have them by default.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};

/// Bytes of a seed: 160 bits, the length of the hash (RFC 4226, section 4).
pub(super) const SEED_BYTES: usize = 20;
/// Seconds of a step.
const STEP_SECONDS: i64 = 30;
/// Digits of a code.
pub(super) const DIGITS: usize = 6;
/// RFC 4648's alphabet, which apps read seeds in.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The step a code belongs to: the current one at `now` (seconds since 1970), or the one before for who types slowly.
pub(super) fn matching_step(seed: &[u8], code: &str, now: i64) -> Option<i64> {
    let current = now.div_euclid(STEP_SECONDS);
    [current, current - 1].into_iter().find(|step| {
        let right = code_at(seed, *step);
        verify_slices_are_equal(right.as_bytes(), code.as_bytes()).is_ok()
    })
}

fn code_at(seed: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes[bytes.len() - 1] & 0x0f);
    let number = bytes[offset..offset + 4]
        .iter()
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
        & 0x7fff_ffff;
    format!("{:0width$}", number % 10_u32.pow(DIGITS as u32), width = DIGITS)
}

/// A seed as people type it and apps read it: base 32 without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut held_bits) = (0_u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        held_bits += 8;
        while held_bits >= 5 {
            held_bits -= 5;
            text.push(char::from(BASE32[(held >> held_bits & 31) as usize]));
        }
        held &= (1 << held_bits) - 1;
    }
    if held_bits > 0 {
        text.push(char::from(BASE32[(held << (5 - held_bits) & 31) as usize]));
    }
    text
}

/// What a QR code shows to an authenticator app (Google's Key URI format, which the others took over).
pub(super) fn otpauth_uri(seed: &[u8], account: &str) -> String {
    format!(
        "otpauth://totp/Kinledger:{}?secret={}&issuer=Kinledger&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}",
        percent_encoded(account),
        base32(seed)
    )
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, for SHA-1; the table has eight digits, of which ours are the last six.
    const VECTORS: [(i64, &str); 6] = [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ];

    #[test]
    fn codes_are_those_of_the_standard() {
        for (now, code) in VECTORS {
            let found = matching_step(b"12345678901234567890", &code[2..], now);
            assert_eq!(found, Some(now / 30), "{now}");
        }
    }

    #[test]
    fn counters_are_those_of_the_older_standard() {
        // RFC 4226, appendix D.
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
        ];
        for (counter, code) in codes.iter().enumerate() {
            assert_eq!(code_at(b"12345678901234567890", counter as i64), *code);
        }
    }

    #[test]
    fn the_step_before_counts_and_no_other() {
        let code = code_at(&[7; SEED_BYTES], 1_000);
        let at = |step: i64| matching_step(&[7; SEED_BYTES], &code, step * 30 + 15);
        assert_eq!(at(1_000), Some(1_000));
        assert_eq!(at(1_001), Some(1_000));
        assert_eq!(at(999), None);
        assert_eq!(at(1_002), None);
        assert_eq!(matching_step(&[7; SEED_BYTES], &code[1..], 30_000), None);
    }

    #[test]
    fn seeds_are_written_as_the_standard_writes_base_32() {
        // RFC 4648, section 10, without padding.
        let written = [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ];
        for (clear, text) in written {
            assert_eq!(base32(clear.as_bytes()), text);
        }
    }

    #[test]
    fn the_uri_is_one_that_apps_read() {
        assert_eq!(
            otpauth_uri(b"foobar", "a da@example.org"),
            "otpauth://totp/Kinledger:a%20da@example.org?secret=MZXW6YTBOI&issuer=Kinledger&algorithm=SHA1&digits=6&period=30"
        );
    }
}
