//! An object store that speaks S3. Requests are signed here (AWS Signature Version 4, in the address) and sent like any other.

use std::time::Duration;

use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use super::{WitnessError, http};

/// How long a signed address is good for.
const SIGNED_FOR: Duration = Duration::from_secs(300);

pub(super) struct Store {
    bucket: Bucket,
    prefix: String,
    credentials: Credentials,
    agent: ureq::Agent,
}

impl std::fmt::Debug for Store {
    /// Without the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("bucket", &self.bucket.name())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// `s3://bucket/prefix?endpoint=https://…&region=…`. Without an endpoint, Amazon's; without a region, that of the
    /// environment, else us-east-1.
    pub(super) fn parse(address: &str) -> Result<Self, WitnessError> {
        let credentials = Credentials::from_env().ok_or(WitnessError::Credentials)?;
        Self::with(address, credentials)
    }

    pub(super) fn with(address: &str, credentials: Credentials) -> Result<Self, WitnessError> {
        let wrong = || WitnessError::Address(address.to_owned());
        let rest = address.strip_prefix("s3://").ok_or_else(wrong)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        let option = |wanted: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .filter(|(key, _)| *key == wanted)
                .map(|(_, value)| value.to_owned())
                .next()
        };
        let region = option("region")
            .or_else(|| std::env::var("AWS_REGION").ok())
            .unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = option("endpoint");
        // Only Amazon answers under a name for every bucket; others are asked by path.
        let style = if endpoint.is_some() {
            UrlStyle::Path
        } else {
            UrlStyle::VirtualHost
        };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let endpoint = endpoint.parse().map_err(|_| wrong())?;
        if name.is_empty() {
            return Err(wrong());
        }
        let prefix = prefix.trim_matches('/');
        Ok(Self {
            bucket: Bucket::new(endpoint, style, name.to_owned(), region).map_err(|_| wrong())?,
            prefix: if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}/")
            },
            credentials,
            agent: http::agent(),
        })
    }

    fn put(&self, name: &str, bytes: &[u8], is_new: bool) -> Result<u16, WitnessError> {
        let object = format!("{}{name}", self.prefix);
        let url = self
            .bucket
            .put_object(Some(&self.credentials), &object)
            .sign(SIGNED_FOR);
        http::put(&self.agent, url.as_str(), bytes, is_new, None)
    }

    pub(super) fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), WitnessError> {
        let status = self.put(name, bytes, true)?;
        http::settle(status, name, bytes, || self.get(name))
    }

    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WitnessError> {
        match self.put(name, bytes, false)? {
            200..=299 => Ok(()),
            status => Err(WitnessError::Refused(status)),
        }
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, WitnessError> {
        let object = format!("{}{name}", self.prefix);
        let url = self
            .bucket
            .get_object(Some(&self.credentials), &object)
            .sign(SIGNED_FOR);
        http::get(&self.agent, url.as_str(), None)
    }
}
