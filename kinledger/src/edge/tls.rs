//! TLS in the process itself: a certificate and its key from files, taken up anew when they change.
//!
//! A renewed pair counts from the next connection on; one that cannot be used leaves the old one in place and says so. Versions
//! are 1.2 and 1.3, with rustls' own choice of ciphers.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use service_kit::{
    private_file,
    shutdown::{self, Shutdown},
};
use tokio_rustls::TlsAcceptor;

/// How often is looked whether the files have changed.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// The files. Without them the process speaks plain HTTP, for a proxy in front of it or this machine alone.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsOptions {
    /// The certificate and those that lead from it to an authority, as PEM: speaks HTTPS with it. Taken up anew when it changes.
    #[arg(long, env = "KINLEDGER_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, as PEM; for its owner only.
    #[arg(long, env = "KINLEDGER_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// What to speak TLS with.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

type Stamp = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Reads the files, if any are named.
    ///
    /// # Errors
    /// When they cannot be read, are open to others, or do not belong together.
    pub fn open(options: &TlsOptions) -> Result<Option<Arc<Self>>> {
        let (Some(cert), Some(key)) = (options.tls_cert.clone(), options.tls_key.clone()) else {
            return Ok(None);
        };
        let config = RwLock::new(load(&cert, &key)?);
        Ok(Some(Arc::new(Self { cert, key, config })))
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }

    /// Takes the files up anew when they change, until shutdown.
    pub async fn keep_current(self: Arc<Self>, shutdown: Shutdown) {
        let stop = shutdown::requested(shutdown);
        tokio::pin!(stop);
        let mut known = self.stamp();
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
            }
            let now = self.stamp();
            if now == known {
                continue;
            }
            known = now;
            match load(&self.cert, &self.key) {
                Ok(config) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                    tracing::info!("the certificate has changed and is used from now on");
                }
                // Often only one of the two files is there yet; the other's change is looked at too.
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "the changed certificate cannot be used; the one before stays"
                ),
            }
        }
    }

    fn stamp(&self) -> Stamp {
        [&self.cert, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        })
    }
}

fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let unreadable = || format!("cannot read the certificate {}", cert.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .with_context(unreadable)?
        .collect::<Result<_, _>>()
        .with_context(unreadable)?;
    if chain.is_empty() {
        bail!("{} holds no certificate", cert.display());
    }
    let key_text = private_file::read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&key_text)
        .map_err(|_| anyhow::anyhow!("{} holds no private key", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .context("TLS 1.2 and 1.3 are not to be had")?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("{} and {} do not belong together", cert.display(), key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
