//! What an installation asks of accounts, and how it reaches people. Secrets come from the environment or from a file.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use command_api::identity::{EmailVerification, IdentityConfig};
use connectors::channels::{Channels, Settings};
use service_kit::address::Network;

/// Accounts, mail and text messages.
#[derive(Clone, Default, Args)]
pub struct AccountOptions {
    /// Where people reach this installation, such as https://money.example.org: links in mails begin with it.
    #[arg(long, value_name = "URL", env = "KINLEDGER_PUBLIC_URL")]
    public_url: Option<String>,
    /// The mail server: smtp://user@host (STARTTLS), smtps://user@host (TLS), or smtp-plain://127.0.0.1 on this machine.
    #[arg(long, value_name = "URL", env = "KINLEDGER_SMTP_URL")]
    smtp_url: Option<String>,
    /// A file with the mail server's password; without it KINLEDGER_SMTP_PASSWORD is read.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_SMTP_PASSWORD_FILE")]
    smtp_password_file: Option<PathBuf>,
    /// Certificates (PEM) of authorities that the mail server's may come from, beside the usual ones.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_SMTP_AUTHORITIES_FILE")]
    smtp_authorities_file: Option<PathBuf>,
    /// Who mails come from: an address, or `Name <address>`.
    #[arg(long, value_name = "ADDRESS", env = "KINLEDGER_MAIL_FROM")]
    mail_from: Option<String>,
    /// Where a gateway takes text messages, as Twilio's https://api.twilio.com/2010-04-01/Accounts/AC…/Messages.json.
    #[arg(long, value_name = "URL", env = "KINLEDGER_SMS_URL")]
    sms_url: Option<String>,
    /// The gateway's account.
    #[arg(long, value_name = "NAME", env = "KINLEDGER_SMS_ACCOUNT")]
    sms_account: Option<String>,
    /// A file with the gateway's token; without it KINLEDGER_SMS_TOKEN is read.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_SMS_TOKEN_FILE")]
    sms_token_file: Option<PathBuf>,
    /// The number or name that text messages come from.
    #[arg(long, value_name = "NUMBER", env = "KINLEDGER_SMS_FROM")]
    sms_from: Option<String>,
    /// Whether an e-mail address has to be verified before its account is of use.
    #[arg(long, value_enum, default_value = "optional", env = "KINLEDGER_EMAIL_VERIFICATION")]
    email_verification: Verification,
    /// Fewest characters of a new password, 8 to 64.
    #[arg(long, value_name = "COUNT", env = "KINLEDGER_PASSWORD_CHARACTERS_MIN")]
    password_characters_min: Option<usize>,
    /// Passwords known from breaches: the sorted SHA-1 file of Have I Been Pwned. It is read here; nobody is asked.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_BREACHED_PASSWORDS_FILE")]
    breached_passwords_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Verification {
    #[default]
    Optional,
    Required,
}

impl AccountOptions {
    /// What identity is opened with.
    ///
    /// # Errors
    /// When a file cannot be read, a secret is given twice, or a channel cannot be opened as told.
    pub fn config(&self, trusted_proxies: &[Network]) -> Result<IdentityConfig> {
        let authorities = match &self.smtp_authorities_file {
            Some(path) => {
                let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                Some(pem)
            }
            None => None,
        };
        let settings = Settings {
            smtp_url: filled(self.smtp_url.as_ref()),
            smtp_password: secret("KINLEDGER_SMTP_PASSWORD", self.smtp_password_file.as_deref())?,
            smtp_authorities_pem: authorities,
            mail_from: filled(self.mail_from.as_ref()),
            sms_url: filled(self.sms_url.as_ref()),
            sms_account: filled(self.sms_account.as_ref()),
            sms_token: secret("KINLEDGER_SMS_TOKEN", self.sms_token_file.as_deref())?,
            sms_from: filled(self.sms_from.as_ref()),
            ..Settings::default()
        };
        let defaults = IdentityConfig::default();
        let public_url = match filled(self.public_url.as_ref()) {
            Some(url) => url,
            None if settings.smtp_url.is_none() => defaults.public_url.clone(),
            None => bail!("KINLEDGER_PUBLIC_URL is not set: links in mails have to lead somewhere"),
        };
        Ok(IdentityConfig {
            trusted_proxies: trusted_proxies.to_vec(),
            public_url,
            email_verification: match self.email_verification {
                Verification::Optional => EmailVerification::Optional,
                Verification::Required => EmailVerification::Required,
            },
            password_characters_min: self.password_characters_min,
            breached_passwords: self.breached_passwords_file.clone(),
            channels: Channels::open(&settings).context("cannot set up how people are reached")?,
            ..defaults
        })
    }
}

impl fmt::Debug for AccountOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountOptions(…)")
    }
}

/// Compose and its kin hand over empty variables for those that are not set.
fn filled(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty()).cloned()
}

/// A secret from a file, else from the environment; it is no option, for others on the machine can read those.
fn secret(variable: &str, file: Option<&Path>) -> Result<Option<String>> {
    let given = std::env::var(variable).ok().filter(|text| !text.is_empty());
    match (file, given) {
        (Some(_), Some(_)) => bail!("{variable} and {variable}_FILE are both set; which one counts?"),
        (Some(path), None) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = text.trim_end_matches(['\r', '\n']);
            if text.is_empty() {
                bail!("{} is empty", path.display());
            }
            Ok(Some(text.to_owned()))
        }
        (None, given) => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_a_file_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "correct horse \n").unwrap();
        assert_eq!(
            secret("KINLEDGER_NO_SUCH_VARIABLE", Some(&path)).unwrap().unwrap(),
            "correct horse "
        );
        std::fs::write(&path, "\n").unwrap();
        assert!(secret("KINLEDGER_NO_SUCH_VARIABLE", Some(&path)).is_err());
        assert_eq!(secret("KINLEDGER_NO_SUCH_VARIABLE", None).unwrap(), None);
    }

    #[test]
    fn nothing_is_needed_and_mail_needs_an_address_to_come_from() {
        assert!(AccountOptions::default().config(&[]).is_ok());
        let half = AccountOptions {
            smtp_url: Some("smtp://mail.example.org".to_owned()),
            ..AccountOptions::default()
        };
        assert!(half.config(&[]).is_err());
        let empty = AccountOptions {
            smtp_url: Some(String::new()),
            ..AccountOptions::default()
        };
        assert!(empty.config(&[]).is_ok());
    }
}
