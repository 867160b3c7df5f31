//! How much: decimal amounts held at exactly the scale of their ISO 4217 currency.
//!
//! Arithmetic is checked: two currencies never add, and nothing overflows in silence. Floating point never touches money.
//! In JSON an amount is a string beside its currency: `{"amount":"12.30","currency":"EUR"}`.

use std::{fmt, str::FromStr};

use rust_decimal::{Decimal, RoundingStrategy};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The largest amount one command may name, in whole units of the currency; far below what `Decimal` holds, so that sums of
/// millions of entries cannot overflow. Source: ours.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// Why an amount is no money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a three-letter code of ISO 4217 in use.
    // What it was instead is not said again: it may be a secret that was pasted here.
    #[error("a currency is a code of ISO 4217 that is in use, such as EUR")]
    UnknownCurrency,
    /// Not a plain decimal number.
    #[error("an amount is a plain decimal number, such as -12.30")]
    NotDecimal,
    /// More decimal places than the currency has.
    #[error("{currency} has {scale} decimal places; '{amount}' has more")]
    TooPrecise {
        /// The amount as given.
        amount: String,
        /// Its currency.
        currency: Currency,
        /// The places the currency has.
        scale: u32,
    },
    /// Beyond [`AMOUNT_MAX`].
    #[error("the amount is larger than {AMOUNT_MAX}")]
    TooLarge,
    /// Two currencies in one sum.
    #[error("{0} and {1} cannot be added")]
    MixedCurrencies(Currency, Currency),
}

/// A currency of ISO 4217 that has a minor unit, by its code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The three-letter code.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Decimal places of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD. Source: ISO 4217.
    pub fn scale(&self) -> u32 {
        iso_currency::Currency::from_code(self.code())
            .and_then(|c| c.exponent())
            .map_or(2, u32::from)
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let unknown = MoneyError::UnknownCurrency;
        let bytes: [u8; 3] = text.as_bytes().try_into().map_err(|_| unknown.clone())?;
        let known = iso_currency::Currency::from_code(text).ok_or_else(|| unknown.clone())?;
        // Codes without a minor unit (gold, test codes) are no currency that a family holds.
        known.exponent().ok_or(unknown)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Currency {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217 code", "examples": ["EUR"]})
    }
}

/// A signed decimal amount at exactly its currency's scale.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    amount: Decimal,
    currency: Currency,
}

impl Money {
    /// An amount in a currency; trailing zeros are added or dropped to reach the currency's scale.
    ///
    /// # Errors
    /// [`MoneyError::TooPrecise`] when digits would be lost, [`MoneyError::TooLarge`] beyond [`AMOUNT_MAX`].
    pub fn try_new(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let scale = currency.scale();
        let mut exact = amount.normalize();
        if exact.scale() > scale {
            return Err(MoneyError::TooPrecise {
                amount: amount.to_string(),
                currency,
                scale,
            });
        }
        if exact.abs() > Decimal::from(AMOUNT_MAX) {
            return Err(MoneyError::TooLarge);
        }
        exact.rescale(scale);
        Ok(Self {
            amount: exact,
            currency,
        })
    }

    /// Reads a plain decimal such as `-12.30`: digits and one point, no exponent, no grouping.
    ///
    /// # Errors
    /// As [`Money::try_new`], and [`MoneyError::NotDecimal`].
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, MoneyError> {
        let digits = amount.strip_prefix(['-', '+']).unwrap_or(amount);
        let plain = digits.len() <= 40
            && digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.ends_with(|c: char| c.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
        if !plain {
            return Err(MoneyError::NotDecimal);
        }
        let decimal = Decimal::from_str_exact(amount).map_err(|_| MoneyError::NotDecimal)?;
        Self::try_new(decimal, currency)
    }

    /// Nothing, in a currency.
    pub fn zero(currency: Currency) -> Self {
        let mut amount = Decimal::ZERO;
        amount.rescale(currency.scale());
        Self { amount, currency }
    }

    /// The amount at the currency's scale.
    pub fn amount(&self) -> Decimal {
        self.amount
    }

    /// The currency.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Is it more than nothing?
    pub fn is_positive(&self) -> bool {
        self.amount > Decimal::ZERO
    }

    /// Is it nothing?
    pub fn is_zero(&self) -> bool {
        self.amount.is_zero()
    }

    /// Is it less than nothing?
    pub fn is_negative(&self) -> bool {
        self.amount < Decimal::ZERO
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::MixedCurrencies`]; [`MoneyError::TooLarge`] when `Decimal` cannot hold it.
    pub fn checked_add(&self, other: &Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::MixedCurrencies(self.currency, other.currency));
        }
        let amount = self.amount.checked_add(other.amount).ok_or(MoneyError::TooLarge)?;
        Ok(Self {
            amount,
            currency: self.currency,
        })
    }

    /// The same amount with the other sign.
    pub fn negated(&self) -> Self {
        let mut amount = -self.amount;
        if amount.is_zero() {
            amount.set_sign_positive(true);
        }
        Self {
            amount,
            currency: self.currency,
        }
    }

    /// Splits into `parts` amounts that sum to the whole. Each gets the share rounded towards zero to the minor unit; the
    /// minor units left over go one each to the first parts.
    pub fn split(&self, parts: u32) -> Vec<Self> {
        if parts == 0 {
            return Vec::new();
        }
        let scale = self.currency.scale();
        let share = (self.amount / Decimal::from(parts)).round_dp_with_strategy(scale, RoundingStrategy::ToZero);
        let unit = Decimal::new(if self.is_negative() { -1 } else { 1 }, scale);
        let mut left = self.amount - share * Decimal::from(parts);
        (0..parts)
            .map(|_| {
                let extra = if left.is_zero() { Decimal::ZERO } else { unit };
                left -= extra;
                let mut amount = share + extra;
                amount.rescale(scale);
                Self {
                    amount,
                    currency: self.currency,
                }
            })
            .collect()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneyJson<'a> {
    #[serde(borrow)]
    amount: std::borrow::Cow<'a, str>,
    currency: Currency,
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        MoneyJson {
            amount: self.amount.to_string().into(),
            currency: self.currency,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = MoneyJson::deserialize(deserializer)?;
        Self::parse(&json.amount, json.currency).map_err(de::Error::custom)
    }
}

impl JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let currency = generator.subschema_for::<Currency>();
        json_schema!({
            "type": "object",
            "description": "A decimal amount, as a string, at the scale of its ISO 4217 currency.",
            "properties": {
                "amount": {"type": "string", "pattern": "^[+-]?[0-9]+(\\.[0-9]+)?$", "maxLength": 41, "examples": ["12.30"]},
                "currency": currency
            },
            "required": ["amount", "currency"],
            "additionalProperties": false
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().expect("a known code")
    }

    #[test]
    fn amounts_take_the_scale_of_their_currency() {
        assert_eq!(
            Money::parse("12.3", currency("EUR")).expect("money").to_string(),
            "12.30 EUR"
        );
        assert_eq!(
            Money::parse("12", currency("JPY")).expect("money").to_string(),
            "12 JPY"
        );
        assert_eq!(
            Money::parse("1.5", currency("KWD")).expect("money").to_string(),
            "1.500 KWD"
        );
        assert_eq!(
            Money::parse("5000.0000", currency("USD")).expect("money").to_string(),
            "5000.00 USD"
        );
    }

    #[test]
    fn what_would_lose_digits_is_refused() {
        assert!(matches!(
            Money::parse("0.001", currency("EUR")),
            Err(MoneyError::TooPrecise { .. })
        ));
        assert!(matches!(
            Money::parse("1.5", currency("JPY")),
            Err(MoneyError::TooPrecise { .. })
        ));
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in [
            "", "-", "1e5", "1,00", ".5", "5.", "NaN", "0x10", "1 000", "$5", "--1", "1.2.3", "٣",
        ] {
            assert!(Money::parse(text, currency("EUR")).is_err(), "{text}");
        }
    }

    #[test]
    fn two_currencies_do_not_add() {
        let sum = Money::zero(currency("EUR")).checked_add(&Money::zero(currency("USD")));
        assert!(matches!(sum, Err(MoneyError::MixedCurrencies(..))));
    }

    #[test]
    fn codes_that_nobody_holds_are_refused() {
        for code in ["XXX", "eur", "EU", "EURO", "XAU", ""] {
            assert!(code.parse::<Currency>().is_err(), "{code}");
        }
    }

    proptest! {
        #[test]
        fn json_keeps_every_amount(minor in -1_000_000_000_000_i64..1_000_000_000_000, code in prop::sample::select(vec!["EUR", "JPY", "KWD", "USD"])) {
            let currency = currency(code);
            let money = Money::try_new(Decimal::new(minor, currency.scale()), currency).expect("in range");
            let json = serde_json::to_string(&money).expect("json");
            prop_assert_eq!(serde_json::from_str::<Money>(&json).expect("money"), money);
        }

        #[test]
        fn splits_sum_to_the_whole(minor in -1_000_000_i64..1_000_000, parts in 1_u32..50) {
            let whole = Money::try_new(Decimal::new(minor, 2), currency("EUR")).expect("in range");
            let split = whole.split(parts);
            prop_assert_eq!(split.len(), parts as usize);
            let sum = split.iter().try_fold(Money::zero(whole.currency()), |sum, part| sum.checked_add(part)).expect("sums");
            prop_assert_eq!(sum, whole);
            let spread = split.iter().map(Money::amount).max().expect("some") - split.iter().map(Money::amount).min().expect("some");
            prop_assert!(spread <= Decimal::new(1, 2));
        }
    }
}
