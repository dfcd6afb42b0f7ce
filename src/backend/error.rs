//! The reasons why a backend does not start.

use std::{io, path::PathBuf};

#[cfg(feature = "oidc")]
use super::access::OidcError;
use super::access::UserTokensError;

/// The reason why a backend does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The address to listen on is invalid.
    #[error("cannot listen on {address:?}: {source}. An address looks like 127.0.0.1:3210")]
    Address {
        /// The address.
        address: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another program listens there.
    #[error(
        "cannot listen on {address}: the address is in use by another program. Stop it, or choose another port (0: any that is free)"
    )]
    AddressInUse {
        /// The address.
        address: String,
    },
    /// Listening where other machines can connect needs a token.
    #[error(
        "cannot listen on {address} without a token: other machines could connect to it. Set a token, make tokens for users, or listen on 127.0.0.1"
    )]
    TokenNeeded {
        /// The address.
        address: String,
    },
    /// The token is empty.
    #[error("the token is empty: choose another, or set none")]
    TokenEmpty,
    /// No browser sends this origin.
    #[error("no browser sends the origin `{origin}`: {problem}")]
    Origin {
        /// The origin.
        origin: String,
        /// The problem, and what to write instead.
        problem: String,
    },
    /// The path prefix is not a plain path.
    #[error(
        "`{prefix}` is no path prefix: it begins with `/` and has letters, digits, `-`, `.`, `_` and `~`, e.g. /sync"
    )]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot use {path} for TLS: {problem}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// The problem, and what to do.
        problem: String,
    },
    /// The users' tokens cannot be read.
    #[error(transparent)]
    UserTokens(#[from] UserTokensError),
    /// The provider of signed tokens cannot be used.
    #[cfg(feature = "oidc")]
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// Another process uses the data directory.
    #[error("{path} is in use by {holder}: stop it, or choose another directory")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that uses it, e.g. `process 1234`.
        holder: String,
    },
    /// The data cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// SQLite cannot read or write the data.
    #[error("cannot use {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// A later version of this program wrote the data.
    #[error(
        "{path} was written by a newer version (format {found}, this one knows {known}): update this program. The file was left as it is"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// The file is damaged, or belongs to another program.
    #[error(
        "{path} cannot be read: {problem}. The file was left as it is: restore a backup, or choose another directory"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The operating system refuses a thread, a socket or randomness.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}
