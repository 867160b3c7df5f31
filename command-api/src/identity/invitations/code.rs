//! Codes that people pass on and type.

use super::super::sessions::hash_of;

/// Characters between two hyphens.
const GROUP_CHARACTERS: usize = 4;
/// Digits and letters without I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A code of so many characters, five random bits each.
pub(in super::super) fn random_code(characters: usize) -> String {
    let random: Vec<u8> = (0..characters).map(|_| rand::random()).collect();
    // 256 is a multiple of 32: every character is as likely as any other.
    let characters: Vec<char> = random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    let groups: Vec<String> = characters
        .chunks(GROUP_CHARACTERS)
        .map(|group| group.iter().collect())
        .collect();
    groups.join("-")
}

/// The hash of a code however it was typed: in any case, with or without hyphens, O for 0 and I or L for 1.
pub(in super::super) fn code_hash(typed: &str) -> [u8; 32] {
    let plain: String = typed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    hash_of(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_typed_as_people_type() {
        let code = "01AB-CDEF-GHJK-MNPQ-RSTV-WXYZ-2345";
        assert_eq!(code_hash(code), code_hash("oiab cdef ghjk mnpq rstv wxyz 2345"));
        assert_ne!(code_hash(code), code_hash("01AB-CDEF-GHJK-MNPQ-RSTV-WXYZ-2346"));
    }

    #[test]
    fn codes_are_long_and_differ() {
        assert_eq!(random_code(28).len(), 34);
        assert_ne!(random_code(28), random_code(28));
    }
}
