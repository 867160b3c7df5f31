//! What an installation asks of accounts, and how it reaches people. Secrets come from the environment or from a file.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use command_api::identity::{EmailVerification, IdentityConfig};
use connectors::{
    channels::{Channels, Settings},
    sign_in::{self, Providers},
};
use service_kit::{address::Network, private_file};

/// Accounts, mail, text messages and providers to sign in by.
#[derive(Clone, Default, Args)]
pub struct AccountOptions {
    /// Where people reach this installation, such as https://money.example.org: links in mails begin with it.
    #[arg(long, value_name = "URL", env = "KINLEDGER_PUBLIC_URL")]
    public_url: Option<String>,
    /// The mail server: smtp://user@host (STARTTLS), smtps://user@host (TLS), or smtp-plain://127.0.0.1 on this machine.
    #[arg(long, value_name = "URL", env = "KINLEDGER_SMTP_URL")]
    smtp_url: Option<String>,
    /// A file, for its owner alone, with the mail server's password; without it KINLEDGER_SMTP_PASSWORD is read.
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
    /// A file, for its owner alone, with the gateway's token; without it KINLEDGER_SMS_TOKEN is read.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_SMS_TOKEN_FILE")]
    sms_token_file: Option<PathBuf>,
    /// The number or name that text messages come from.
    #[arg(long, value_name = "NUMBER", env = "KINLEDGER_SMS_FROM")]
    sms_from: Option<String>,
    /// A file (JSON, for its owner alone) of the providers people may sign in by: Google, Apple, Facebook, X, or any OpenID
    /// provider; docs/operations.md tells what stands in it.
    #[arg(long, value_name = "FILE", env = "KINLEDGER_SIGN_IN_PROVIDERS_FILE")]
    sign_in_providers_file: Option<PathBuf>,
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
        let providers_file = self
            .sign_in_providers_file
            .as_deref()
            .filter(|path| !path.as_os_str().is_empty());
        let public_url = match filled(self.public_url.as_ref()) {
            Some(url) => url,
            None if settings.smtp_url.is_some() => {
                bail!("KINLEDGER_PUBLIC_URL is not set: links in mails have to lead somewhere")
            }
            None if providers_file.is_some() => {
                bail!("KINLEDGER_PUBLIC_URL is not set: sign-in providers have to send people back somewhere")
            }
            None => defaults.public_url.clone(),
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
            sign_in_providers: match providers_file {
                Some(path) => providers(path).with_context(|| format!("cannot take {}", path.display()))?,
                None => Providers::default(),
            },
            ..defaults
        })
    }
}

impl fmt::Debug for AccountOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountOptions(…)")
    }
}

/// The providers of a file, and of the key files it names beside itself.
fn providers(path: &Path) -> Result<Providers> {
    let mut settings = sign_in::Settings::parse(&private_file::read(path)?)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    for (_, section) in settings.sections_mut() {
        if let Some(file) = &section.private_key_file {
            section.private_key_pem = Some(private_file::read(&folder.join(file))?);
        }
    }
    Ok(Providers::open(&settings)?)
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
            let text = String::from_utf8(private_file::read(path)?)
                .ok()
                .with_context(|| format!("{} holds no text", path.display()))?;
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_read_from_a_private_file_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let read = |text: &[u8], rights: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(rights)).unwrap();
            secret("KINLEDGER_NO_SUCH_VARIABLE", Some(&path)).map_err(|error| format!("{error:#}"))
        };
        for rights in [0o600, 0o400, 0o640] {
            assert_eq!(read(b"correct horse \n", rights), Ok(Some("correct horse ".to_owned())));
            std::fs::remove_file(&path).unwrap();
        }
        for rights in [0o644, 0o604, 0o660] {
            let refused = read(b"correct horse \n", rights).unwrap_err();
            assert!(
                refused.contains("chmod 600") && !refused.contains("correct horse"),
                "{refused}"
            );
        }
        assert!(read(b"\n", 0o600).is_err());
        assert!(read(b"\xff\n", 0o600).is_err());
        assert_eq!(secret("KINLEDGER_NO_SUCH_VARIABLE", None).unwrap(), None);
    }

    #[test]
    fn providers_come_from_a_private_file_and_need_an_address_to_send_people_back_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("providers.json");
        let write = |text: &str, rights: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(rights)).unwrap();
        };
        let config = |public_url: Option<&str>| {
            let options = AccountOptions {
                sign_in_providers_file: Some(path.clone()),
                public_url: public_url.map(str::to_owned),
                ..AccountOptions::default()
            };
            options.config(&[]).map_err(|error| format!("{error:#}"))
        };
        let google = r#"{"google": {"client_id": "ours", "client_secret": "0123456789abcdefghij"}}"#;
        write(google, 0o600);
        let opened = config(Some("https://money.example.org")).unwrap();
        assert_eq!(opened.sign_in_providers.iter().count(), 1);
        assert!(config(None).unwrap_err().contains("KINLEDGER_PUBLIC_URL"));
        write(google, 0o644);
        assert!(
            config(Some("https://money.example.org"))
                .unwrap_err()
                .contains("chmod 600")
        );
        write(r#"{"google": {"client_id": "ours"}}"#, 0o600);
        let refused = config(Some("https://money.example.org")).unwrap_err();
        assert!(refused.contains("'google': client_secret is missing"), "{refused}");
        write(
            r#"{"apple": {"client_id": "a", "team_id": "b", "key_id": "c", "private_key_file": "key.p8"}}"#,
            0o600,
        );
        let refused = config(Some("https://money.example.org")).unwrap_err();
        assert!(refused.contains("key.p8"), "{refused}");
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
