//! The official `convex` client: the only room that touches the network.
//!
//! [`Transport`] keeps one connection per app, a subscription per collection and one push in flight. It is told what to
//! do by [`Request`]s and says what happened in [`Notice`]s; it decides on its own about backing off, advancing
//! subscriptions and refreshing a token.
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
//! - `outgoing`: which mutations a push takes, and what became of its documents.
//! - `wire`: the values of the wire, encoded and checked. It is a room of its own.
//!
//! `task` drives a session in the program, `simulated` does in the simulator. `connection` is all that touches the
//! network. The official client connects again on its own for ever, piles up mutations meanwhile and sends them all
//! later; so it is used only while it is connected, dropped with its first connection, and a new one is built for the
//! next.

mod backoff;
mod connection;
mod endpoint;
mod follow;
mod outgoing;
mod reconnect;
mod session;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;
mod task;

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    CollectionIndex,
    record::{Checkpoint, Page, Push, PushAnswer, PushNumber, Refusal},
    wire,
};
// Re-exported for this room's callers.
pub use crate::status::Reason;

/// Gives the token to authenticate with. The argument is true when the last one was refused or the connection was lost,
/// so a cached one should be refreshed. `Ok(None)` goes without.
pub type AuthToken =
    Arc<dyn Fn(bool) -> Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send>> + Send + Sync>;

/// A connection to a deployment, kept up in the background. Dropping it closes the connection.
#[derive(Debug)]
pub struct Transport {
    requests: mpsc::UnboundedSender<Request>,
}

impl Transport {
    /// Starts to connect, in a task on the current tokio runtime (which needs its IO and time drivers), unless the
    /// first [`Request`] is `Online(false)`.
    ///
    /// The notices end when the transport is dropped. They are few at a time: one who does not take them keeps pages
    /// from being read, but nothing else.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(config: TransportConfig) -> (Self, mpsc::Receiver<Notice>) {
        let (requests, asked) = mpsc::unbounded_channel();
        // The session keeps those that wait, and bounds them.
        let (sender, notices) = mpsc::channel(1);
        tokio::spawn(task::Task::new(config, sender).run(asked));
        (Self { requests }, notices)
    }

    /// Asks for something. Never blocks; what becomes of it comes as a [`Notice`].
    pub fn request(&self, request: Request) {
        // The task ends before this only if nobody takes its notices any more, or with the runtime.
        let _ = self.requests.send(request);
    }
}

/// Belongs at the end of an app's log filter that shows more than `info`: `LogPlugin { filter:
/// format!("debug,{LOG_FILTER}"), .. }`, or the same words at the end of `RUST_LOG`. It is a directive of
/// `tracing_subscriber::EnvFilter`.
///
/// This library logs no token, at any level. The official client does at `debug`, where it logs all that it sends, and
/// so does the WebSocket library beneath it at `trace`: neither can be asked not to, other than by the app's own
/// filter. The client is silenced altogether, because it also logs every failed attempt to connect as an error, which
/// [`Notice::Disconnected`] tells as well.
pub const LOG_FILTER: &str = "convex=off,tungstenite=info,tokio_tungstenite=info";

/// What to talk to.
#[derive(Clone)]
pub struct TransportConfig {
    /// `https://happy-otter-123.convex.cloud`, `http://127.0.0.1:3210`, ..
    pub url: String,
    /// How to authenticate, if at all.
    pub auth: Option<AuthToken>,
    /// The collections' module names, by index.
    pub collections: Vec<String>,
    /// Seeds the jitter of the backoff.
    pub seed: u64,
}

/// What a transport is asked to do.
#[derive(Debug)]
pub enum Request {
    /// Follow a collection's log from a checkpoint on, in this connection and all later ones. Replaces what it followed
    /// before.
    Subscribe {
        /// The collection.
        collection: CollectionIndex,
        /// Exclusive.
        checkpoint: Checkpoint,
    },
    /// Send a batch. Answered by exactly one of [`Notice::Answered`], [`Notice::Refused`] and [`Notice::Dropped`].
    Push(Push),
    /// Be connected, or not.
    Online(bool),
}

/// What happened.
#[derive(Debug)]
pub enum Notice {
    /// Trying.
    Connecting {
        /// From 1; since the last time it was connected.
        attempt: u32,
        /// Why the last connection or attempt ended.
        reason: Option<Reason>,
    },
    /// The deployment answers.
    Connected,
    /// No connection, and none is tried before `retry_in`.
    Disconnected {
        /// Why.
        reason: Reason,
        /// When it is tried again; `None`: not before it is asked for.
        retry_in: Option<std::time::Duration>,
    },
    /// News of a collection.
    Page(Page),
    /// A collection cannot be read: not allowed, no such function, a checkpoint the log does not know.
    PullRefused {
        /// The collection.
        collection: CollectionIndex,
        /// Why.
        refusal: Refusal,
    },
    /// How many documents the deployment has: what catching up counts towards.
    Count {
        /// The collection.
        collection: CollectionIndex,
        /// Documents, tombstones included.
        documents: u64,
    },
    /// A push was taken in.
    Answered(PushAnswer),
    /// A push was refused as a whole; nothing of it is stored.
    Refused {
        /// Which push.
        number: PushNumber,
        /// The collection.
        collection: CollectionIndex,
        /// Why.
        refusal: Refusal,
    },
    /// The connection ended before the answer to a push: it may or may not be stored.
    Dropped {
        /// Which push.
        number: PushNumber,
        /// The collection.
        collection: CollectionIndex,
    },
}
