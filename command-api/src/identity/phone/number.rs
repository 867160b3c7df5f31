//! Telephone numbers as the world writes them (E.164).

use service_kit::problem::Problem;

/// Most digits of a number, without its `+`.
const DIGITS_MAX: usize = 15;
/// Fewest digits of one that a message can reach.
const DIGITS_MIN: usize = 8;

/// Countries where numbers are written with a zero that nobody dials after the country's code; elsewhere, as in Italy, it is dialled.
const TRUNK_ZERO: &[&str] = &[
    "31", "32", "33", "41", "43", "44", "46", "49", "61", "64", "81", "351", "353", "358", "420",
];

/// A number in the form in which it is stored, looked up and sent to. It has no `Debug`: nothing may print it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Number(String);

impl Number {
    /// Reads a number with its country's code; what people write between digits does not matter. One telephone has one form: a zero
    /// that belongs to dialling at home, written as `(0)` or not, is refused.
    ///
    /// # Errors
    /// 400 when it is none.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let kept: String = text
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/'))
            .collect();
        let digits = kept.strip_prefix('+').unwrap_or_default();
        let is_sound = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
            && !TRUNK_ZERO
                .iter()
                .any(|code| digits.strip_prefix(code).is_some_and(|rest| rest.starts_with('0')));
        if is_sound {
            Ok(Self(kept))
        } else {
            Err(Problem::malformed(
                "number: expected one with its country's code and no zero after it, like +49 170 1234567",
            )
            .with("field", "number"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As much of it as tells its owner which it is.
    pub fn masked(&self) -> String {
        let (_, last) = self.0.split_at(self.0.len() - 3);
        format!("{}…{last}", &self.0[..3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_in_one_form() {
        for text in ["+491701234567", " +49 170 123-4567 ", "+49 (170) 123.45.67"] {
            assert_eq!(Number::parse(text).ok().unwrap().as_str(), "+491701234567");
        }
        assert_eq!(Number::parse("+491701234567").ok().unwrap().masked(), "+49…567");
        assert_eq!(Number::parse("+39 06 69812345").ok().unwrap().as_str(), "+390669812345");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "+",
            "01701234567",
            "491701234567",
            "+0491701234567",
            "+490170 1234567",
            "+49 (0)170 1234567",
            "+44 (0)20 7946 0000",
            "+4917012",
            "+4917012345678901",
            "+49170123456a",
            "+49170\n1234567",
            "+４９１７０１２３４５６７",
        ] {
            assert!(Number::parse(text).is_err(), "{text:?}");
        }
    }
}
