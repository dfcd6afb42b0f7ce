//! The state of saving and synchronising, as the worker reports it, and the reason when there is no connection.

/// The state of saving and synchronising.
#[derive(Clone, Debug, PartialEq)]
// Tests take the worker's place, and must name every field and variant.
#[cfg_attr(not(feature = "internals"), non_exhaustive)]
pub struct Status {
    /// The connection.
    pub connection: Connection,
    /// The number of edits, counted from the first of the run, that need no more work by the store: each of them is
    /// durable, changed nothing, or is lost.
    pub saved: u64,
    /// The number of those edits that the store refused permanently. They are in the world, and sent, but not on this
    /// disk.
    pub lost: u64,
    /// Documents with changes that the deployment does not have.
    pub unsent: usize,
    /// Whether the store is open.
    pub store_open: bool,
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Connection {
    /// There is no deployment, or the app asked for no connection, or the transport waits before it tries again.
    Offline {
        /// The reason. `None` without a deployment, or before the first attempt.
        reason: Option<Reason>,
    },
    /// Trying.
    Connecting {
        /// The number of this attempt, from 1, since the last connection.
        attempt: u32,
        /// The reason why the last connection or attempt ended.
        reason: Option<Reason>,
    },
    /// The connection is up, and earlier changes are still arriving.
    CatchingUp {
        /// Documents here.
        received: u64,
        /// Documents there, if known.
        total: Option<u64>,
    },
    /// Connected, and everything that the deployment had has been reported, except collections that it does not let
    /// this app read.
    Live,
}

/// The reason why there is no connection. The worker gives [`Store`](Self::Store), the transport all others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The app asked for it.
    Asked,
    /// No server answers at that address. This has the operating system's error.
    Unreachable(String),
    /// The connection was closed.
    Lost(String),
    /// The token was refused, or the callback had none. This has the deployment's message, or the callback's.
    Unauthenticated(String),
    /// The token callback gave another user's token. Nothing was sent under it.
    OtherUser {
        /// The user who is signed in; empty if nobody is.
        user: String,
        /// The user whose token it is.
        token_of: String,
    },
    /// The URL is invalid.
    BadUrl(String),
    /// The store is not open. Changes that cannot be stored are neither sent nor received. This has the store's
    /// message.
    Store(String),
}
