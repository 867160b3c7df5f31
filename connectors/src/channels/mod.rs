//! The `Channel` port and the list of channels: how a person is told something outside the application.
//!
//! A channel sends one message and says what became of it. It blocks its thread for as long as its time-out allows, and never
//! retries: that is the [`Outbox`]'s, which has a thread and a bounded queue for each channel, so that nobody who has
//! something to say ever waits for a mail server. A new channel is one file and one line in [`CHANNELS`].
//!
//! What is queued is in memory: a process that ends forgets it. That is enough for what is sent today (codes, links and
//! notices about somebody's own account), where the person asks again or the trail of security events says the same.

mod mail;
mod outbox;
mod sms;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use uuid::Uuid;

pub use outbox::{Full, Outbox, Pace, QUEUED_MAX};

/// The name of mail in [`CHANNELS`].
pub const MAIL: &str = "mail";
/// The name of text messages in [`CHANNELS`].
pub const SMS: &str = "sms";

/// Every channel, by name.
pub static CHANNELS: &[Kind] = &[
    Kind {
        name: MAIL,
        open: mail::open,
    },
    Kind {
        name: SMS,
        open: sms::open,
    },
];

/// A channel; none when the settings do not ask for it.
pub type Opened = Result<Option<Box<dyn Channel>>, SettingsError>;

/// A kind of channel: what it is called, and how it is opened from the settings.
pub struct Kind {
    /// Its name in settings, metrics and log lines.
    pub name: &'static str,
    /// The channel; none when the settings do not ask for it.
    pub open: fn(&Settings) -> Opened,
}

/// A way to reach a person outside the application.
pub trait Channel: Send {
    /// Hands one message over, or says why not. Blocks within the channel's time-out.
    ///
    /// # Errors
    /// [`SendError`], which says whether another try can help.
    fn send(&self, message: &Message) -> Result<(), SendError>;
}

/// Something to tell one person. It may hold a code or a link that opens an account, so it has no `Debug`.
pub struct Message {
    /// Names the message: sent twice, it can be told that it is one.
    pub id: Uuid,
    /// Where to: an e-mail address, or a telephone number as `+` and digits (E.164).
    pub to: String,
    /// One line; channels without subjects leave it out.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// How long it is of use; afterwards it is not sent any more.
    pub useful_for: Duration,
}

/// Why a message was not taken. The texts are the other side's, shortened; they hold no message.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is nobody at this address, for good.
    #[error("nobody can be reached there: {0}")]
    AddressDead(String),
    /// This message will never be taken.
    #[error("the message was refused: {0}")]
    Rejected(String),
    /// Our credentials, our address or our settings are wrong; an operator has to look.
    #[error("the settings are refused: {0}")]
    Operator(String),
    /// Perhaps later.
    #[error("not now: {0}")]
    Later(String),
}

/// What channels are opened from. It holds passwords, so it has no `Debug` that tells.
#[derive(Clone, Default)]
pub struct Settings {
    /// The mail server: `smtp://` (STARTTLS, port 587), `smtps://` (TLS, port 465), or `smtp-plain://` on this machine only.
    /// A user may stand in it, a password may not.
    pub smtp_url: Option<String>,
    /// The mail server's password.
    pub smtp_password: Option<String>,
    /// Further certificate authorities that the mail server's certificate may come from, as PEM.
    pub smtp_authorities_pem: Option<Vec<u8>>,
    /// Who mails come from: `Name <address>` or an address.
    pub mail_from: Option<String>,
    /// Where the text message gateway takes messages, as Twilio's `…/Messages.json`.
    pub sms_url: Option<String>,
    /// The gateway's account.
    pub sms_account: Option<String>,
    /// The gateway's password or token.
    pub sms_token: Option<String>,
    /// The number or name that text messages come from.
    pub sms_from: Option<String>,
    /// How long the other side may take for anything. Default 15 s.
    pub timeout: Option<Duration>,
    /// How often a message is tried. Default [`Pace::default`].
    pub pace: Pace,
}

impl Settings {
    fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(15))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings(…)")
    }
}

/// Why channels cannot be opened as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// One setting makes no sense, or misses another.
    #[error("{channel}: {reason}")]
    Wrong {
        /// Which channel.
        channel: &'static str,
        /// What is wrong, without its value.
        reason: String,
    },
    /// A thread cannot be started.
    #[error("the thread of {channel} cannot be started")]
    Thread {
        /// Which channel.
        channel: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

fn wrong(channel: &'static str, reason: impl Into<String>) -> SettingsError {
    SettingsError::Wrong {
        channel,
        reason: reason.into(),
    }
}

/// The channels that are set up, each with its queue. Cheap to clone; none by default.
#[derive(Clone, Default)]
pub struct Channels {
    outboxes: Arc<BTreeMap<&'static str, Outbox>>,
}

impl Channels {
    /// Opens what the settings ask for.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn open(settings: &Settings) -> Result<Self, SettingsError> {
        let mut outboxes = BTreeMap::new();
        for kind in CHANNELS {
            if let Some(channel) = (kind.open)(settings)? {
                let outbox = Outbox::start(kind.name, channel, settings.pace.clone()).map_err(|source| {
                    SettingsError::Thread {
                        channel: kind.name,
                        source,
                    }
                })?;
                outboxes.insert(kind.name, outbox);
            }
        }
        Ok(Self {
            outboxes: Arc::new(outboxes),
        })
    }

    /// The queue of a channel; none when it is not set up.
    pub fn get(&self, name: &str) -> Option<&Outbox> {
        self.outboxes.get(name)
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.outboxes.keys()).finish()
    }
}

/// The other side's words, as much of them as a log line takes.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
