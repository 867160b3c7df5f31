//! The one secret of an installation. It never enters the database, and everything that must not be readable from a copy of
//! the database hangs on it: back it up beside the database, not with it.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
};

use aws_lc_rs::hmac;
use service_kit::private_file::{self, PrivateFileError};

/// Where the secret may come from instead of a file: 64 hexadecimal digits.
pub const SECRET_VARIABLE: &str = "KINLEDGER_SECRET";

/// 32 random bytes; other keys are derived from it by purpose, so that no key serves two.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not 32 bytes in hexadecimal.
    #[error("the secret must be 64 hexadecimal digits; `openssl rand -hex 32` makes one")]
    Form,
    /// It has a pattern.
    #[error("the secret is a placeholder: anybody could guess it; `openssl rand -hex 32` makes one")]
    Placeholder,
    /// The file is not there for its owner alone.
    #[error(transparent)]
    Private(#[from] PrivateFileError),
    /// The file cannot be read or written.
    #[error("cannot keep the secret in {path}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Secret {
    /// Wraps 32 bytes that nobody else knows.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SecretError::Form`], and [`SecretError::Placeholder`] for one that was typed rather than drawn.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| SecretError::Form)?;
        if is_placeholder(&bytes) {
            return Err(SecretError::Placeholder);
        }
        Ok(Self(bytes))
    }

    /// The secret in this file; made, readable to its owner only, when there is none. Two processes that start at once agree.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read_or_create(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::File {
            path: path.display().to_string(),
            source,
        };
        if path.exists() {
            return Self::parse(&String::from_utf8_lossy(&private_file::read(path)?));
        }
        // Written whole beside its place and linked there: a half-written secret is never seen, an existing one never replaced.
        let draft = path.with_extension(format!("draft-{}", uuid::Uuid::new_v4().simple()));
        write_privately(&draft, &hex::encode(rand::random::<[u8; 32]>())).map_err(failed)?;
        let linked = std::fs::hard_link(&draft, path);
        std::fs::remove_file(&draft).map_err(failed)?;
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        Self::parse(&std::fs::read_to_string(path).map_err(failed)?)
    }

    /// A key for one purpose, by HMAC-SHA-256 of the purpose's name.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        keyed_hash(&self.0, &[b"kinledger/", purpose.as_bytes()])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// HMAC-SHA-256 over parts, each preceded by its length so that no two lists of parts read the same.
pub(super) fn keyed_hash(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.sign().as_ref());
    hash
}

/// Repeats itself, counts up or down, or has far fewer different bytes than chance gives (32 drawn ones have some 30).
fn is_placeholder(bytes: &[u8; 32]) -> bool {
    let repeats = |period: usize| bytes[period..] == bytes[..32 - period];
    let steps = |step: u8| bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    let different: std::collections::BTreeSet<&u8> = bytes.iter().collect();
    (1..=16).any(repeats) || (0..=255).any(steps) || different.len() < 16
}

fn write_privately(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed_and_never_a_placeholder() {
        let text = "1f8c0b7a9e6d5c4b3a2918f716054e3d2c1b0a99887f6e5d4c3b2a1908f7e6d5";
        let secret = Secret::parse(text).unwrap();
        assert!(!format!("{secret:?}").contains("1f8c"));
        let counted: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        for placeholder in [
            "00".repeat(32),
            "0123456789abcdef".repeat(4),
            "00112233445566778899aabbccddeeff".repeat(2),
            "deadbeef".repeat(8),
            counted,
            format!("{}{}", "00".repeat(20), &text[..24]),
        ] {
            let refused = Secret::parse(&placeholder).err().map(|error| error.to_string());
            assert!(
                refused.is_some_and(|words| words.contains("placeholder")),
                "{placeholder}"
            );
        }
        assert!(Secret::parse("short").is_err());
    }

    #[test]
    fn keys_for_two_purposes_differ() {
        let secret = Secret::new([7; 32]);
        assert_ne!(secret.derive("one"), secret.derive("two"));
        assert_eq!(secret.derive("one"), secret.derive("one"));
    }

    #[test]
    fn the_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;

        let folder = std::env::temp_dir().join(format!("kinledger-secret-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("secret");
        let first = Secret::read_or_create(&path).unwrap();
        let second = Secret::read_or_create(&path).unwrap();
        assert_eq!(first.0, second.0);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Secret::read_or_create(&path).err().map(|error| error.to_string());
        assert!(
            refused.is_some_and(|words| words.contains("chmod 600")),
            "others may read it"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
