//! The configuration of a backend.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use super::{
    access::{Authorize, Everyone, OidcProvider},
    error::BackendError,
    limits::{LOG_BYTES, PATIENCE, RETENTION},
};

/// The configuration of a backend. Unless configured otherwise, the backend keeps its data in memory and listens on a
/// free port of this machine.
#[derive(Clone)]
pub struct BackendConfig {
    pub(crate) listen: String,
    pub(super) data: Option<PathBuf>,
    pub(super) new_epoch: bool,
    pub(super) token: Option<String>,
    pub(super) origins: Vec<String>,
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    pub(super) prefix: Option<String>,
    pub(super) patience: Duration,
    pub(super) retention: Duration,
    pub(super) max_log_bytes: u64,
    pub(super) rule: Arc<dyn Authorize>,
    pub(super) oidc: Option<OidcProvider>,
}

impl BackendConfig {
    /// A backend that keeps its data in memory, on any free port of this machine, for every program on it.
    pub fn new() -> Self {
        Self {
            listen: "127.0.0.1:0".into(),
            data: None,
            new_epoch: false,
            token: None,
            origins: Vec::new(),
            certificate: None,
            prefix: None,
            patience: PATIENCE,
            retention: RETENTION,
            max_log_bytes: LOG_BYTES,
            rule: Arc::new(Everyone),
            oidc: None,
        }
    }

    /// Listens on this address, e.g. `127.0.0.1:3210`. Port 0 chooses a free port. An address that other machines can
    /// connect to needs a [`token`](Self::token).
    pub fn listen(self, address: impl Into<String>) -> Self {
        Self { listen: address.into(), ..self }
    }

    /// Keeps its data in this directory. The directory is created if necessary, and no other process may use it
    /// meanwhile.
    pub fn data(self, directory: impl Into<PathBuf>) -> Self {
        Self { data: Some(directory.into()), ..self }
    }

    /// Gives the log in its directory a new id at the start. Use it once, for the first start after a backup was
    /// restored. Clients then read the log from its beginning and send again what it lacks. Without a new id, a client
    /// would not notice the older log once that has grown past the client's checkpoint, and the changes it had sent
    /// before would stay missing.
    pub fn new_epoch(self) -> Self {
        Self { new_epoch: true, ..self }
    }

    /// Serves only clients that send this token, as the user token of the sync protocol, or after `Authorization:
    /// Bearer`. The token is that of one user without a name. Users with names have tokens of their own, in the data
    /// directory: see [`UserTokens`](super::UserTokens).
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// Serves users who send a signed token of this provider (feature `oidc`).
    #[cfg(feature = "oidc")]
    pub fn oidc(self, provider: OidcProvider) -> Self {
        Self { oidc: Some(provider), ..self }
    }

    /// The rule for reads and writes. Without a rule, every caller that may call functions may read and write
    /// everything.
    pub fn authorize(self, rule: impl Authorize) -> Self {
        Self { rule: Arc::new(rule), ..self }
    }

    /// The time that a client may send nothing, or read nothing, before its connection is closed, and the time that a
    /// request may take to arrive. The default is 60 seconds. The backend pings clients four times in that time, and
    /// the client's library answers. So a connection outlives a broken network for this time.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The time for which deleted documents are kept. The default is 90 days. After that the backend keeps only their
    /// names. A client that was away for longer starts over, and drops those documents too instead of bringing them
    /// back.
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// The largest size of the log. The default is 2 GiB. The log is held in memory, where it takes up to about twice
    /// as much. Pushes beyond the limit are refused with the code `logFull`. Their clients keep them and continue to
    /// read.
    pub fn max_log_bytes(self, bytes: u64) -> Self {
        Self { max_log_bytes: bytes, ..self }
    }

    /// Serves over TLS, with this certificate (and the certificates that lead to its authority) and its private key, as
    /// PEM files. When the files change, new connections use the new ones. If the new files are wrong, this is logged,
    /// and the backend continues with the old ones.
    pub fn tls(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: Some((certificate.into(), key.into())), ..self }
    }

    /// Serves everything below this path, e.g. `/sync`, for a reverse proxy that passes requests on as they are.
    pub fn path_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: Some(prefix.into()), ..self }
    }

    /// Serves web pages of every origin. Any page that a browser on this machine shows can then call the backend: use
    /// it with a token.
    pub fn allow_any_origin(mut self) -> Self {
        self.origins.push(super::server::origin::ANY.into());
        self
    }

    /// Serves web pages of this origin, e.g. `http://localhost:5173`. Pages of other origins are refused, because any
    /// page in a browser could otherwise reach a backend on the same machine. A value that no browser sends, such as
    /// one with a path, is an error at the start.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(super::server::origin::named(origin.into()));
        self
    }
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BackendConfig {
    /// Debug output does not include the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendConfig")
            .field("listen", &self.listen)
            .field("data", &self.data)
            .field("new_epoch", &self.new_epoch)
            .field("token", &self.token.as_ref().map(|_| ".."))
            .field("oidc", &self.oidc)
            .field("origins", &self.origins)
            .field("tls", &self.certificate)
            .field("path_prefix", &self.prefix)
            .field("patience", &self.patience)
            .field("retention", &self.retention)
            .field("max_log_bytes", &self.max_log_bytes)
            .finish()
    }
}

/// Checks a path prefix. `/` at its end is left out.
pub(super) fn prefix(prefix: &str) -> Result<String, BackendError> {
    let trimmed = prefix.trim_end_matches('/');
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && !matches!(segment, "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    let is_path = trimmed.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment));
    if !trimmed.is_empty() && !is_path {
        return Err(BackendError::Prefix { prefix: prefix.to_owned() });
    }
    Ok(trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_path() {
        for (given, prefix_) in [("/sync", "/sync"), ("/sync/", "/sync"), ("/a/b-1", "/a/b-1"), ("/", ""), ("", "")] {
            assert_eq!(prefix(given).unwrap(), prefix_);
        }
        for given in ["sync", "/a//b", "/a b", "/{x}", "/a/*", "/a?b", "/../a", "http://host/sync"] {
            assert!(prefix(given).unwrap_err().to_string().contains("/sync"), "{given}");
        }
    }
}
