use url::Url;

/// The address of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The URL for the client.
    pub(super) url: String,
    /// The address for `TcpStream::connect`.
    pub(super) address: String,
    /// The host, as the URL has it: an IPv6 address is in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The host, and the port unless it is usual for the scheme.
    pub(super) authority: String,
    /// The path before `/api/sync`, without `/` at its end.
    pub(super) prefix: String,
    pub(super) is_tls: bool,
}

impl Endpoint {
    /// Reads a deployment's URL, or says what is wrong with it and what one looks like.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            format!(
                "`{url}` {why}; a deployment's URL looks like https://happy-otter-123.convex.cloud or http://127.0.0.1:3210"
            )
        };
        let parsed = Url::parse(url.trim()).map_err(|error| bad(&format!("is no URL ({error})")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(bad(&format!("starts with `{}:` instead of http: or https:", parsed.scheme())));
        }
        // This is checked before an error can repeat the URL, because a log must not contain a password.
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("the deployment's URL has a user name or password in it; give a token callback instead".into());
        }
        let Some(host) = parsed.host_str().filter(|host| !host.is_empty()) else {
            return Err(bad("names no host"));
        };
        if host.ends_with(".convex.site") {
            return Err(bad(
                "is where a deployment serves HTTP actions; its functions are at the same name under .convex.cloud",
            ));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(bad("has a `?` or `#`, which no deployment has"));
        }
        let port = parsed.port_or_known_default().ok_or_else(|| bad("names no port"))?;
        let authority = parsed.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self {
            address: format!("{host}:{port}"),
            host: host.to_owned(),
            port,
            authority,
            prefix: parsed.path().trim_end_matches('/').to_owned(),
            is_tls: parsed.scheme() == "https",
            url: parsed.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_are_found_at_their_host_and_port() {
        for (url, address) in [
            ("https://happy-otter-123.convex.cloud", "happy-otter-123.convex.cloud:443"),
            ("http://127.0.0.1:3210", "127.0.0.1:3210"),
            ("http://localhost/", "localhost:80"),
            (" http://[::1]:3210 ", "[::1]:3210"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().address, address);
        }
    }

    #[test]
    fn the_error_about_a_bad_url_shows_a_good_one() {
        for url in [
            "",
            "happy-otter-123",
            "happy-otter-123.convex.cloud",
            "127.0.0.1:3210",
            "localhost:3210",
            "ws://127.0.0.1:3210",
            "file:///etc/passwd",
            "http://",
            "http://host:99999",
            "https://happy-otter-123.convex.site",
            "https://host/?query",
            "https://host/path#fragment",
            "mailto:someone@example.org",
        ] {
            let why = Endpoint::parse(url).unwrap_err();
            assert!(why.contains("looks like https://"), "{url}: {why}");
        }
    }

    #[test]
    fn a_deployment_may_be_below_a_path() {
        for (url, prefix, authority) in [
            ("https://host", "", "host"),
            ("https://host/", "", "host"),
            ("https://host/sync", "/sync", "host"),
            ("https://host:8443/a/sync/", "/a/sync", "host:8443"),
            ("http://[::1]:3210/s", "/s", "[::1]:3210"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((&*endpoint.prefix, &*endpoint.authority), (prefix, authority), "{url}");
            assert_eq!(endpoint.is_tls, url.starts_with("https:"));
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let why = Endpoint::parse("https://me:secret@host").unwrap_err();
        assert!(!why.contains("secret") && why.contains("token callback"));
    }
}
