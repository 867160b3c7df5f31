//! What the browser says about the ceremony: `clientDataJSON`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

/// Longest client data that is read, in bytes.
const BYTES_MAX: usize = 4 * 1024;

/// The browser's words. Members we do not know are the browser's business.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Words {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
}

/// Reads it: the challenge it answers, when type and origin are the expected ones.
pub(super) fn challenge_in(bytes: &[u8], expected_type: &str, origin: &str) -> Option<Vec<u8>> {
    if bytes.len() > BYTES_MAX {
        return None;
    }
    let words: Words = serde_json::from_slice(bytes).ok()?;
    // Inside somebody else's page a person does not see whom they sign in to.
    let is_ours = words.r#type == expected_type && words.origin == origin && !words.cross_origin;
    if !is_ours {
        return None;
    }
    URL_SAFE_NO_PAD.decode(words.challenge).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://kin.example";

    fn read(words: &str) -> Option<Vec<u8>> {
        challenge_in(words.as_bytes(), "webauthn.get", ORIGIN)
    }

    #[test]
    fn only_the_exact_type_and_origin_count() {
        let words = r#"{"type":"webauthn.get","challenge":"AQID","origin":"https://kin.example","extra":[1]}"#;
        assert_eq!(read(words), Some(vec![1, 2, 3]));
        for (from, to) in [
            ("webauthn.get", "webauthn.create"),
            ("https://kin.example", "https://kin.example.evil"),
            ("https://kin.example", "https://sub.kin.example"),
            ("https://kin.example", "http://kin.example"),
            ("https://kin.example", "https://kin.example:8443"),
            ("https://kin.example", "https://KIN.example"),
            ("AQID", "A+ID"),
            (r#""extra":[1]"#, r#""crossOrigin":true"#),
        ] {
            let altered = words.replace(from, to);
            assert_ne!(altered, words);
            assert_eq!(read(&altered), None, "{altered}");
        }
        assert_eq!(read("{}"), None);
        assert_eq!(read(&format!("{words}{}", " ".repeat(BYTES_MAX))), None);
    }
}
