//! Who we are to an authenticator: a domain, and the addresses our pages are served from.

use super::super::super::IdentityError;

/// What keys are bound to. A key made for another domain never signs for this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super::super) struct RelyingParty {
    /// The domain, without port.
    pub id: String,
    /// The one origin whose pages may ask, as browsers write it.
    pub origin: String,
}

impl RelyingParty {
    /// From the address people open, such as `https://kinledger.example`.
    ///
    /// # Errors
    /// [`IdentityError::PublicUrl`] when browsers would not let it use passkeys: it must be https, or `localhost`.
    pub fn of(public_url: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::PublicUrl(public_url.chars().take(200).collect());
        let url: axum::http::Uri = public_url.parse().map_err(|_| wrong())?;
        let (scheme, authority) = (url.scheme_str().ok_or_else(wrong)?, url.authority().ok_or_else(wrong)?);
        let host = authority.host().to_ascii_lowercase();
        let is_local = host == "localhost" || host.ends_with(".localhost") || host == "127.0.0.1" || host == "[::1]";
        let is_sound = !host.is_empty()
            && !authority.as_str().contains('@')
            && (scheme == "https" || (scheme == "http" && is_local));
        if !is_sound {
            return Err(wrong());
        }
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port = authority.port_u16().filter(|port| *port != default_port);
        let origin = match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        };
        // A numeric address is no domain; a browser that is given one asks under its own name of it.
        Ok(Self { id: host, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_domain_and_the_origin_of_the_address() {
        let of = |url: &str| RelyingParty::of(url).map(|party| (party.id, party.origin)).ok();
        let party = |id: &str, origin: &str| Some((id.to_owned(), origin.to_owned()));
        assert_eq!(of("https://Kin.example/"), party("kin.example", "https://kin.example"));
        assert_eq!(
            of("https://kin.example:443"),
            party("kin.example", "https://kin.example")
        );
        assert_eq!(of("http://localhost:8080"), party("localhost", "http://localhost:8080"));
        assert_eq!(of("http://kin.example"), None);
        assert_eq!(of("kin.example"), None);
        assert_eq!(of("https://eve@kin.example"), None);
        assert_eq!(of("ftp://localhost"), None);
    }
}
