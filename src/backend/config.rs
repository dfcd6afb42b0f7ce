//! How a backend is set up.

use std::{fmt, path::PathBuf, time::Duration};

use super::limits::{LOG_BYTES, PATIENCE, RETENTION};

/// How a backend is set up: in memory, on any free port of this machine, unless told otherwise.
#[derive(Clone)]
pub struct BackendConfig {
    pub(crate) listen: String,
    pub(super) data: Option<PathBuf>,
    pub(super) new_epoch: bool,
    pub(super) token: Option<String>,
    pub(super) origins: Vec<String>,
    pub(super) patience: Duration,
    pub(super) retention: Duration,
    pub(super) max_log_bytes: u64,
}

impl BackendConfig {
    /// In memory, on any free port of this machine, for everyone on it.
    pub fn new() -> Self {
        Self {
            listen: "127.0.0.1:0".into(),
            data: None,
            new_epoch: false,
            token: None,
            origins: Vec::new(),
            patience: PATIENCE,
            retention: RETENTION,
            max_log_bytes: LOG_BYTES,
        }
    }

    /// Listens on this address, e.g. `127.0.0.1:3210`; port 0 is any that is free. An address that other machines can connect to needs a
    /// [`token`](Self::token).
    pub fn listen(self, address: impl Into<String>) -> Self {
        Self { listen: address.into(), ..self }
    }

    /// Keeps its data in this directory, which is made if need be, and which no other process may use meanwhile.
    pub fn data(self, directory: impl Into<PathBuf>) -> Self {
        Self { data: Some(directory.into()), ..self }
    }

    /// Gives the log in its directory a new id at the start: to be done once, at the first start after a backup was put back. Clients then read it
    /// from its beginning, and offer again what they have and it lacks. Otherwise one whose checkpoint the log has since passed again would not notice
    /// that it is another, and what it had sent before would stay missing.
    pub fn new_epoch(self) -> Self {
        Self { new_epoch: true, ..self }
    }

    /// Serves only those who know the token: as the user token of the sync protocol, or after `Authorization: Bearer`.
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// How long a client may say nothing at all, or take nothing of what is sent to it, before its connection is closed; and how long a
    /// request may take to come in. 60 seconds unless set. Clients are pinged four times in that time, which they answer by themselves, so
    /// this is how long a connection outlives a network that broke.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long deleted documents are kept: 90 days unless set. Then all but their names is dropped, and a client that was away for longer
    /// starts over: it drops them too, instead of bringing them back.
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// How large the log may become: 2 GiB unless set. All of it is held in memory, so this bounds memory, too, by about twice as much. Pushes
    /// beyond it are refused with the code `logFull` and stay with their clients, who go on reading what is there.
    pub fn max_log_bytes(self, bytes: u64) -> Self {
        Self { max_log_bytes: bytes, ..self }
    }

    /// Serves web pages of this origin, e.g. `http://localhost:5173`. Others are refused: any page a browser shows could otherwise reach a
    /// backend on the same machine.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BackendConfig {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendConfig")
            .field("listen", &self.listen)
            .field("data", &self.data)
            .field("new_epoch", &self.new_epoch)
            .field("token", &self.token.as_ref().map(|_| ".."))
            .field("origins", &self.origins)
            .field("patience", &self.patience)
            .field("retention", &self.retention)
            .field("max_log_bytes", &self.max_log_bytes)
            .finish()
    }
}
