//! A request as it goes over the wire, sound or not.

use std::fmt;

/// A request as it goes over the wire.
pub struct Odd {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<Vec<u8>>,
}

impl Odd {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!(
            "{} {} HTTP/1.1\r\nhost: kinledger\r\nconnection: close\r\n",
            self.method, self.target
        )
        .into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(body);
        } else {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    /// Gives a header another value.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.headers.retain(|(given, _)| given != name);
        self.headers.push((name.to_owned(), value.to_vec()));
    }
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        write!(f, "{} {}", self.method, short(self.target.as_bytes()))?;
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "authorization") {
            write!(f, " [{name}: {}]", short(value))?;
        }
        write!(f, " {}", self.body.as_deref().map(short).unwrap_or_default())
    }
}
