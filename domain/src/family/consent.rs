//! A parent's consent to what the family keeps about a child, as a state machine in the log.
//!
//! A family says its country, at its founding or later, and is under that country's age of consent; before it has, no teen or child is
//! given a place, and those who have one from an earlier release are under the highest age there is. Each teen or child has an
//! [`AgeBand`], which an adult gives instead of a date of birth; one without a band counts as the youngest. Below the age, the member
//! is [`Consent::Pending`] until a parent gives consent to the notice as it is now, and again after the notice has changed or consent
//! was revoked. Until then the family keeps of the member what consent needs (a name to call them by, the band, the consent), and
//! every command by them or about them is refused with `consent-required`. From the age on a young person needs nobody's consent here.
//! ADRs 0040 and 0044 have the choices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The ages below which a parent consents, by country. Sources: COPPA (16 CFR 312) and GDPR art. 8 with the member states' laws, as
/// of November 2026; where sources disagree, the higher age. Not legal advice.
const AGES: &[(&str, u8)] = &[
    ("AT", 14),
    ("BE", 13),
    ("BG", 14),
    ("CY", 14),
    ("CZ", 15),
    ("DK", 15),
    ("EE", 13),
    ("ES", 14),
    ("FI", 13),
    ("FR", 15),
    ("GB", 13),
    ("GR", 15),
    ("IT", 14),
    ("LT", 14),
    ("LV", 13),
    ("MT", 13),
    ("NO", 13),
    ("PT", 13),
    ("SE", 13),
    ("US", 13),
];
/// Every country there is, by ISO 3166-1, and Kosovo by the code that everybody gives it.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO \
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE \
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO \
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";
/// Everywhere else: what the GDPR says where no law says otherwise.
const AGE_OTHERWISE: u8 = 16;

/// Is there a country of this code (two capital letters)?
pub fn is_country(code: &str) -> bool {
    COUNTRIES.split(' ').any(|country| country == code)
}

/// The age below which a parent consents in a country.
pub fn age_of_consent(country: &str) -> u8 {
    AGES.iter()
        .find(|(code, _)| *code == country)
        .map_or(AGE_OTHERWISE, |(_, age)| *age)
}

/// How old a young member is, as little as has to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum AgeBand {
    /// Below every country's age.
    #[serde(rename = "under-13")]
    Under13,
    /// Thirteen.
    #[serde(rename = "13")]
    Of13,
    /// Fourteen.
    #[serde(rename = "14")]
    Of14,
    /// Fifteen.
    #[serde(rename = "15")]
    Of15,
    /// Sixteen or more: above every country's age.
    #[serde(rename = "16-or-over")]
    From16,
}

impl AgeBand {
    /// Every band, the youngest first.
    pub const ALL: [Self; 5] = [Self::Under13, Self::Of13, Self::Of14, Self::Of15, Self::From16];

    /// The youngest somebody of the band can be, in years.
    pub const fn youngest(self) -> u8 {
        match self {
            Self::Under13 => 0,
            Self::Of13 => 13,
            Self::Of14 => 14,
            Self::Of15 => 15,
            Self::From16 => 16,
        }
    }
}

/// How it was verified that a parent consents. Source: 16 CFR 312.5(b).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentMethod {
    /// A form that was signed and sent back.
    SignedForm,
    /// A payment that the account's holder is told of.
    PaymentCard,
    /// A call to trained staff.
    TelephoneCall,
    /// A video conference with trained staff.
    VideoCall,
    /// A document of identity, checked and then deleted.
    GovernmentId,
    /// Questions that a child could hardly answer.
    KnowledgeQuestions,
    /// A picture held against a document, both then deleted.
    FaceMatch,
    /// An e-mail and a further step; only where nothing is disclosed to others, as here.
    EmailPlus,
    /// A text message and a further step; as above.
    TextPlus,
}

/// What a family is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRules {
    /// Below this age a parent consents.
    pub age: u8,
    /// The version of the notice that counts.
    pub notice_version: u32,
}

impl ConsentRules {
    /// What a family is under that has not said its country: the highest age, and a notice that nobody can have consented to, for
    /// consent is given where a country was said.
    pub const UNSAID: Self = Self {
        age: AGE_OTHERWISE,
        notice_version: super::NOTICE_FIRST,
    };
}

/// What is known of one member's consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRecord {
    /// How old they are; none counts as the youngest.
    pub band: Option<AgeBand>,
    /// The version of the notice that a parent consented to.
    pub notice_version: Option<u32>,
    /// Was it taken back since?
    pub is_revoked: bool,
}

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// An adult, or of age.
    NotNeeded,
    /// Nobody has consented to the notice as it is now.
    Pending,
    /// A parent has.
    Given,
    /// A parent took it back.
    Revoked,
}

impl Consent {
    /// Where a teen or child stands under these rules; none are those of a family that has not said its country.
    pub fn of(rules: Option<ConsentRules>, is_young: bool, record: &ConsentRecord) -> Self {
        if !is_young {
            return Self::NotNeeded;
        }
        let rules = rules.unwrap_or(ConsentRules::UNSAID);
        if record.band.map_or(0, AgeBand::youngest) >= rules.age {
            Self::NotNeeded
        } else if record.is_revoked {
            Self::Revoked
        } else if record.notice_version == Some(rules.notice_version) {
            Self::Given
        } else {
            Self::Pending
        }
    }

    /// May anything be kept or done about the member?
    pub fn is_enough(self) -> bool {
        matches!(self, Self::NotNeeded | Self::Given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_one_of_the_list_and_every_age_is_of_one() {
        assert_eq!(COUNTRIES.split(' ').count(), 250);
        assert!(COUNTRIES.split(' ').is_sorted_by(|one, next| one < next));
        assert!(AGES.iter().all(|(code, _)| is_country(code)));
        for code in ["XX", "EU", "UK", "pt", "P", "PT ", "", " "] {
            assert!(!is_country(code), "{code}");
        }
    }

    #[test]
    fn ages_are_those_of_the_law_and_sixteen_where_none_is_known() {
        for (age, countries) in [
            (13, "BE EE FI GB LV MT NO PT SE US"),
            (14, "AT BG CY ES IT LT"),
            (15, "CZ DK FR GR"),
            (16, "BR CH DE HR HU IE LU NL PL RO SI SK"),
        ] {
            assert!(
                countries.split(' ').map(age_of_consent).all(|said| said == age),
                "{countries}"
            );
        }
        assert!(AGES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(AGES.iter().all(|(_, age)| (13..=16).contains(age)));
        assert!(AGES.iter().all(|(_, age)| *age <= ConsentRules::UNSAID.age));
    }

    #[test]
    fn every_band_in_every_state_under_every_age() {
        let mut cells = 0;
        for age in 13..=16 {
            for band in [None].into_iter().chain(AgeBand::ALL.map(Some)) {
                for (notice_version, is_revoked) in [(None, false), (Some(1), false), (Some(2), false), (Some(2), true)]
                {
                    let record = ConsentRecord {
                        band,
                        notice_version,
                        is_revoked,
                    };
                    let rules = ConsentRules { age, notice_version: 2 };
                    let consent = Consent::of(Some(rules), true, &record);
                    let is_of_age = band.is_some_and(|band| band.youngest() >= age);
                    let is_given = notice_version == Some(2) && !is_revoked;
                    assert_eq!(consent.is_enough(), is_of_age || is_given, "{age} {record:?}");
                    assert_eq!(Consent::of(Some(rules), false, &record), Consent::NotNeeded);
                    assert_eq!(Consent::of(None, false, &record), Consent::NotNeeded);
                    let unsaid = Consent::of(Some(ConsentRules::UNSAID), true, &record);
                    assert_eq!(Consent::of(None, true, &record), unsaid, "no country is the strictest");
                    cells += 1;
                }
            }
        }
        assert_eq!(cells, 4 * 6 * 4);
    }
}
