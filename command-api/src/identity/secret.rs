//! The one secret of an installation. It never enters the database, and everything that must not be readable from a copy of
//! the database hangs on it: back it up beside the database, not with it.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
};

use aws_lc_rs::hmac;

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
    /// [`SecretError::Form`], also for a secret of one repeated byte: that is a placeholder.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| SecretError::Form)?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(SecretError::Form);
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
        match std::fs::read_to_string(path) {
            Ok(text) => return Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
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
        let text = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let secret = Secret::parse(text).unwrap();
        assert!(!format!("{secret:?}").contains("11"));
        assert!(Secret::parse(&"00".repeat(32)).is_err());
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
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
