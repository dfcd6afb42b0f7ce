//! The origins of web pages that may call the backend.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderValue, header};
use url::Url;

use crate::backend::{error::BackendError, limits::LOGGED_ORIGINS};

/// Stands for every origin. [`BackendConfig::allow_any_origin`](super::super::BackendConfig::allow_any_origin) alone
/// makes it.
pub(in crate::backend) const ANY: &str = "any origin";

/// A value that was given as an origin, which never stands for every origin.
pub(in crate::backend) fn named(origin: String) -> String {
    if origin == ANY { format!("`{origin}`") } else { origin }
}

/// The allowed origins, and those that were refused.
pub(in crate::backend) struct Origins {
    allowed: Vec<String>,
    is_any: bool,
    logged: Mutex<BTreeSet<String>>,
}

impl Origins {
    /// Refuses values that no browser sends.
    pub fn new(mut allowed: Vec<String>) -> Result<Self, BackendError> {
        let is_any = allowed.iter().any(|origin| origin == ANY);
        allowed.retain(|origin| origin != ANY);
        for origin in &allowed {
            check(origin).map_err(|problem| BackendError::Origin { origin: origin.clone(), problem })?;
        }
        Ok(Self { allowed, is_any, logged: Mutex::default() })
    }

    /// Whether pages of this origin may call the backend. A refused origin is logged once.
    pub fn admit(&self, origin: &HeaderValue) -> bool {
        if self.is_any || self.allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
            return true;
        }
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        // A page can send at most a few origins, but other programs send any.
        let origin: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(200).collect();
        if logged.len() < LOGGED_ORIGINS && logged.insert(origin.clone()) {
            tracing::warn!(
                target: "bevy_convex_replicate::backend",
                origin,
                "refused a web page of this origin: if it may call the backend, allow its origin",
            );
            if logged.len() == LOGGED_ORIGINS {
                tracing::warn!(target: "bevy_convex_replicate::backend", "further refused origins are not logged");
            }
        }
        false
    }
}

/// Whether a request may be that of a web page whose own name was made to lead to this machine (DNS rebinding). The
/// browser sends no `Origin` with such a page's `GET`, because the page and the backend have the same name; but no page
/// can change the `Host`, which is then a name of the public DNS. An address, `localhost` and a name without a dot are
/// not.
pub(super) fn may_be_rebound(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::ORIGIN) {
        // This origin was allowed.
        return false;
    }
    // A browser always sends a host.
    let Some(host) = headers.get(header::HOST) else { return false };
    let Ok(host) = host.to_str() else { return true };
    if host.starts_with('[') {
        return false;
    }
    let name = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    name.contains('.') && name.parse::<Ipv4Addr>().is_err() && !name.ends_with(".localhost")
}

/// Describes the fault of an origin, and what to write instead.
fn check(origin: &str) -> Result<(), String> {
    // Pages from files and in sandboxes have this one.
    if origin == "null" {
        return Ok(());
    }
    if origin.contains('*') {
        return Err("write out each origin; to allow every page, use --allow-any-origin, and set a token".into());
    }
    let Ok(url) = Url::parse(origin) else {
        return Err("an origin is a scheme, a host and a port, e.g. http://localhost:5173".into());
    };
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) if !host.is_empty() => format!("{host}:{port}"),
        (Some(host), None) if !host.is_empty() => host.to_owned(),
        _ => return Err("it names no host; an origin is e.g. http://localhost:5173".into()),
    };
    // The parser makes scheme and host as a browser does: in lower case, with an international name in ASCII, and
    // without the scheme's usual port.
    let sent = format!("{}://{}", url.scheme(), host.to_ascii_lowercase());
    if sent == origin {
        return Ok(());
    }
    Err(format!(
        "write {sent} (an origin has no path, no `/` at its end, no upper case, and no port that is usual for its scheme)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_as_browsers_send_them_are_taken() {
        for origin in [
            "http://localhost:5173",
            "https://example.org",
            "http://[::1]:8080",
            "https://xn--bcher-kva.example",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnop",
            "null",
        ] {
            assert_eq!(check(origin), Ok(()), "{origin}");
        }
    }

    #[test]
    fn values_that_no_browser_sends_are_refused_with_the_right_one() {
        for (origin, expected) in [
            ("http://localhost:5173/", "http://localhost:5173"),
            ("https://example.org/app", "https://example.org"),
            ("https://Example.org", "https://example.org"),
            ("HTTPS://example.org", "https://example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("*", "--allow-any-origin"),
            ("https://*.example.org", "--allow-any-origin"),
            ("localhost:5173", "http://localhost:5173"),
            ("example.org", "http://localhost:5173"),
            ("", "http://localhost:5173"),
        ] {
            let problem = check(origin).expect_err(origin);
            assert!(problem.contains(expected), "{origin}: {problem}");
        }
    }

    #[test]
    fn a_page_whose_name_leads_here_is_known_by_its_host() {
        let of = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            may_be_rebound(&headers)
        };
        for host in ["evil.example", "Evil.Example:3210", "evil.example.", "127.0.0.1.evil.example:80", "1.2.3"] {
            assert!(of("host", host), "{host}");
        }
        for host in
            ["127.0.0.1", "127.0.0.1:3210", "[::1]:3210", "localhost:3210", "LOCALHOST", "app.localhost:80", "x"]
        {
            assert!(!of("host", host), "{host}");
        }
        assert!(!of("origin", "https://example.org"), "allowed origins were checked before");
    }

    #[test]
    fn every_origin_is_allowed_only_by_its_own_call() {
        let other = HeaderValue::from_static("https://example.org");
        assert!(Origins::new(vec![ANY.into()]).unwrap().admit(&other));
        assert!(Origins::new(vec![named(ANY.into())]).is_err());
        assert!(!Origins::new(Vec::new()).unwrap().admit(&other));
    }

    #[test]
    fn refused_origins_are_remembered_up_to_a_bound() {
        let origins = Origins::new(Vec::new()).unwrap();
        for number in 0..10 * LOGGED_ORIGINS {
            assert!(!origins.admit(&HeaderValue::from_str(&format!("https://{number}.example")).unwrap()));
        }
        assert_eq!(origins.logged.lock().unwrap().len(), LOGGED_ORIGINS);
    }
}
