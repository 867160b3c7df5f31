//! Amounts as answers carry them.

use domain::Currency;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

/// An exact amount: a decimal string at its currency's scale, and the currency's ISO 4217 code.
///
/// Unlike a single posting, a sum may be larger than what one command may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Amount {
    /// Decimal string at the currency's scale, such as `-12.30`.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
}

impl Amount {
    /// An amount from a row.
    pub fn new(amount: Decimal, currency: impl Into<String>) -> Self {
        let currency = currency.into();
        let scale = currency.parse::<Currency>().map_or(2, |currency| currency.scale());
        let mut exact = amount.normalize();
        // Rows never hold more places than the currency has; should one, they are shown rather than rounded away.
        if exact.scale() < scale {
            exact.rescale(scale);
        }
        if exact.is_zero() {
            exact.set_sign_positive(true);
        }
        Self {
            amount: exact.to_string(),
            currency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_written_at_the_currencys_scale() {
        let of = |amount: &str, currency: &str| Amount::new(amount.parse().expect("a decimal"), currency).amount;
        assert_eq!(of("12.3", "EUR"), "12.30");
        assert_eq!(of("1200", "JPY"), "1200");
        assert_eq!(of("1.5000", "KWD"), "1.500");
        assert_eq!(of("-0", "EUR"), "0.00");
        assert_eq!(of("12345678901234567.89", "EUR"), "12345678901234567.89");
    }
}
