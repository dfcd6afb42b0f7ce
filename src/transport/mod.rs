//! The official `convex` client. This is the only room that touches the network.
//!
//! [`Transport`] keeps one connection per app, a subscription per collection and one push in flight. It takes
//! [`Request`]s and reports events as [`Notice`]s. It decides on its own about backing off, advancing subscriptions and
//! refreshing a token.
//!
//! # How it works
//!
//! `session` decides everything and knows neither clock nor socket nor thread: it takes inputs and gives outputs. Its
//! parts:
//!
//! - `reconnect`: when to connect, with which kind of token, and what a failure means; `backoff` says after which
//!   pause.
//! - `follow`: per collection, from where to subscribe, which rows of a result are new, when a subscription gives way
//!   to the next.
//! - `presence`: what the app shows to others, and how often.
//! - `outgoing`: which mutations a push takes, and what became of its documents.
//! - `wire`: the values of the wire, encoded and checked. It is a room of its own.
//!
//! `task` drives a session in the program, and `simulated` drives one in the simulator. Only `connection` touches the
//! network. The official client connects again on its own for ever. Meanwhile it queues mutations, and sends them all
//! later. So the transport uses a client only for its first connection, drops it with that, and builds a new one for
//! the next connection.

mod backoff;
mod connection;
mod endpoint;
mod follow;
mod outgoing;
mod presence;
mod proxy;
mod reconnect;
mod session;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;
mod task;
mod token;
mod tunnel;

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    CollectionIndex,
    record::{FromBackend, Peer, Refusal, Showing, ToBackend},
    wire,
};
// This is re-exported for this room's callers.
pub use crate::status::Reason;
pub use token::Token;
#[cfg(feature = "simulation")]
pub(crate) use token::check_user;

/// Gives the token to authenticate with. The argument is true when the last token was refused or the connection was
/// lost, so a cached token should be refreshed. `Ok(None)` connects without a token.
pub type AuthToken =
    Arc<dyn Fn(bool) -> Pin<Box<dyn Future<Output = Result<Option<Token>, String>> + Send>> + Send + Sync>;

/// A connection to a deployment, kept up in the background. Dropping it closes the connection.
#[derive(Debug)]
pub struct Transport {
    requests: mpsc::UnboundedSender<Request>,
}

impl Transport {
    /// Starts to connect, in a task on the current tokio runtime, unless the first [`Request`] is `Online(false)`. The
    /// runtime needs its IO and time drivers.
    ///
    /// The notices end when the transport is dropped. The channel holds few notices. If the caller does not take them,
    /// no more pages are read, but everything else goes on.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn start(config: TransportConfig) -> (Self, mpsc::Receiver<Notice>) {
        let (requests, asked) = mpsc::unbounded_channel();
        // The session keeps the waiting notices, and limits their number.
        let (sender, notices) = mpsc::channel(1);
        tokio::spawn(task::Task::new(config, sender).run(asked));
        (Self { requests }, notices)
    }

    /// Requests something. It never blocks; the result comes as a [`Notice`].
    pub fn request(&self, request: Request) {
        // The task has ended only if the runtime is gone, or if nothing takes its notices any more.
        let _ = self.requests.send(request);
    }
}

/// A directive for the end of an app's log filter, if that filter shows more than `info`: `LogPlugin { filter:
/// format!("debug,{LOG_FILTER}"), .. }`, or the same words at the end of `RUST_LOG`. It is a directive of
/// `tracing_subscriber::EnvFilter`.
///
/// This library logs no token, at any level. The official client logs all that it sends at `debug`, and its WebSocket
/// library does so at `trace`. Only the app's log filter can prevent this. The client is silenced altogether, because
/// it also logs every failed attempt to connect as an error, which [`Connection::Offline`](crate::Connection::Offline)
/// tells as well.
pub const LOG_FILTER: &str = "convex=off,tungstenite=info,tokio_tungstenite=info";

/// The deployment, the collections and the token callback of a transport.
#[derive(Clone)]
pub struct TransportConfig {
    /// `https://happy-otter-123.convex.cloud`, `http://127.0.0.1:3210`, ..
    pub url: String,
    /// The token callback, if the app authenticates.
    pub auth: Option<AuthToken>,
    /// The user whose edits are sent. A token of another user is not used. `None`: tokens of any user are.
    pub user: Option<String>,
    /// The collections' module names, by index.
    pub collections: Vec<String>,
    /// Seeds the jitter of the backoff.
    pub seed: u64,
    /// The secret that proves to the deployment which peer this app is. Another one in each run of the program.
    pub session: String,
}

/// A request to a transport.
#[derive(Debug)]
pub enum Request {
    /// A request of the replica.
    Backend(ToBackend),
    /// Connect, or go offline.
    Online(bool),
    /// Show this to others and follow them, in this connection and all later ones. This replaces what was shown of the
    /// collection before.
    Show(Showing),
    /// Show nothing any more. Ends in [`Notice::Left`].
    Leave,
}

/// An event of a transport.
#[derive(Debug)]
pub enum Notice {
    /// The transport is trying to connect.
    Connecting {
        /// The number of this attempt, from 1, since the last connection.
        attempt: u32,
        /// Why the last connection or attempt ended.
        reason: Option<Reason>,
    },
    /// The deployment answers.
    Connected,
    /// No connection, and none is tried before `retry_in`.
    Disconnected {
        /// The reason.
        reason: Reason,
        /// The time until the next attempt. `None` if there is no attempt until one is requested.
        #[cfg_attr(not(any(test, feature = "internals")), expect(dead_code, reason = "read by tests"))]
        retry_in: Option<std::time::Duration>,
    },
    /// An answer to a request of the replica.
    Backend(FromBackend),
    /// The other peers of a collection's area. Earlier ones that were not taken are replaced.
    Peers {
        /// The collection.
        collection: CollectionIndex,
        /// All of them.
        peers: Vec<Peer>,
    },
    /// The deployment does not show what this app shows, or does not give the other peers.
    PresenceRefused {
        /// The collection.
        collection: CollectionIndex,
        /// The reason.
        refusal: Refusal,
    },
    /// Nothing is shown any more, as far as the deployment can be reached.
    Left,
    /// The number of documents in the deployment, which shows the progress of catching up.
    Count {
        /// The collection.
        collection: CollectionIndex,
        /// The number of documents, tombstones included.
        documents: u64,
    },
}
