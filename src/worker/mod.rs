//! One background thread that drives replica, store and transport.
//!
//! A front end (the plugin, or another one with `default-features = false`) starts a [`Worker`], sends it [`Command`]s and takes
//! [`Report`]s; neither call ever blocks. All disk, network and CRDT work happens behind it.

//!
//! # Threads
//!
//! The worker's thread runs a single-threaded tokio runtime: it owns the replica, and the transport's tasks share it. A second thread owns
//! the store, because a synchronised write takes as long as the disk does; everything that waits for it is written as
//! one transaction. Both end when the [`Worker`] is dropped, after every edit sent before is on the disk.

mod disk;
mod run;
mod running;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;
mod status;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::Notify;

use crate::{
    CollectionIndex, DocumentKey,
    format::{FormatError, Value},
    record::{Capture, Generation, Kept, Origin, Schema},
    transport::AuthToken,
};
// Re-exported for this room's callers.
pub use crate::{
    failure::{Failure, FailureKind},
    status::{Connection, Status},
};

/// What the worker needs to know of a collection's types.
pub trait Codec: Schema {
    /// Turns a document into what the front end shows. Parts that do not fit are left out and told of.
    fn decode(&self, document: &Value) -> Decoded;
}

/// A document as the front end shows it.
pub struct Decoded {
    /// The front end's own type.
    pub content: Box<dyn Any + Send>,
    /// What did not fit.
    pub problems: Vec<FormatError>,
    /// Bit `i` for each of the collection's component types that the document has something of which does not fit.
    pub misfits: u32,
}

/// What of a document does not fit its components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Bit `i` for each of the collection's component types.
    pub components: u32,
    /// What does not fit, with the place.
    pub problems: Vec<FormatError>,
}

/// A captured value, to be serialised off the main thread.
pub trait Encode: Send + 'static {
    /// The value, and bit `i` for each of the collection's component types it speaks of.
    fn encode(&self) -> Result<(Value, u32), FormatError>;
}

/// What the front end did to a document.
pub enum Captured {
    /// It holds this now.
    Put(Box<dyn Encode>),
    /// An entity that holds this was given the document's name. A document that is there already is shown instead; a
    /// deleted one comes back.
    Spawn(Box<dyn Encode>),
    /// As [`Captured::Spawn`], but a deleted document stays deleted.
    Ensure(Box<dyn Encode>),
    /// It is deleted.
    Delete,
    /// It is no longer deleted.
    Restore,
}

/// A collection of an app.
pub struct CollectionConfig {
    /// Its name: the module of its functions.
    pub name: String,
    /// Its types.
    pub codec: Arc<dyn Codec>,
}

/// Where a worker works.
pub struct WorkerConfig {
    /// The store's file. Its folder is made if need be.
    pub store: PathBuf,
    /// The deployment, e.g. `https://happy-otter-123.convex.cloud`; `None`: not synchronised.
    pub deployment: Option<String>,
    /// How to authenticate there.
    pub auth: Option<AuthToken>,
    /// Whether to connect at once.
    pub online: bool,
    /// The collections, in the order of their [`CollectionIndex`].
    pub collections: Vec<CollectionConfig>,
}

/// What a front end asks for.
pub enum Command {
    /// It edited a document.
    Edit {
        /// The document.
        document: DocumentKey,
        /// The generation the entity showed.
        generation: Generation,
        /// The count of this edit of this document, from 1.
        capture: Capture,
        /// What happened to it.
        change: Captured,
    },
    /// It shows these generations now (or has dropped them on purpose).
    Applied(Vec<(DocumentKey, Generation)>),
    /// It shows a version in part. Sent before [`Command::Applied`] of it.
    Kept(Kept),
    /// It wants the document's current state again, as a delta of origin [`Origin::Stored`].
    Show(DocumentKey),
    /// Be connected, or not.
    Online(bool),
    /// Offer refused documents again.
    Retry,
    /// Set a damaged store aside and make a new one, see [`Store::set_aside`](crate::store::Store::set_aside): at once if it is refused, now or later
    /// in this run; before it is opened the next time if it is open.
    RebuildStore,
}

/// What a worker tells a front end.
pub enum Report {
    /// A version of a document. `content` is [`Decoded::content`]; `None`: it is deleted.
    Delta {
        /// The document.
        document: DocumentKey,
        /// Its number.
        generation: Generation,
        /// The last capture it includes.
        seen: Capture,
        /// What to show.
        content: Option<Box<dyn Any + Send>>,
        /// What of it does not fit, and which component types that concerns ([`Decoded::misfits`]).
        misfit: Option<Box<Misfit>>,
        /// Where it comes from.
        origin: Origin,
    },
    /// Everything the store had of this collection has been reported.
    Ready(CollectionIndex),
    /// Everything that the deployment had of this collection when the connection was made has been reported, or (not
    /// `read`) that is no longer so: the connection ended, or the collection is read anew. A collection that the
    /// deployment does not give us is not read. Without a deployment there is nothing to read, and it is so as soon as
    /// the collection is [`Ready`](Self::Ready).
    Read {
        /// The collection.
        collection: CollectionIndex,
        /// Whether it is so now.
        read: bool,
    },
    /// An edit was compared with what the front end had been shown.
    Compared {
        /// The document.
        document: DocumentKey,
        /// The count of the edit.
        capture: Capture,
        /// The root fields that the edit changed. Empty if it changed nothing, or was not taken in.
        fields: Vec<String>,
    },
    /// Something did not work; everything else goes on.
    Failed(Failure),
    /// How things are now.
    Status(Status),
    /// The worker has ended before its time, or never began: nothing is saved or sent any more. Nothing else is reported after it.
    Stopped(Failure),
}

/// A running worker. Dropping it waits until every edit sent is on the disk.
pub struct Worker {
    commands: Sender<Command>,
    reports: Receiver<Report>,
    wake: Arc<Notify>,
    gone: Arc<AtomicBool>,
    rebuild: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts working. Never blocks and never fails: what goes wrong, now or later, is reported.
    pub fn start(config: WorkerConfig) -> Self {
        let (commands, command_receiver) = crossbeam_channel::unbounded();
        let (report_sender, reports) = crossbeam_channel::unbounded();
        let wake = Arc::new(Notify::new());
        let gone = Arc::new(AtomicBool::new(false));
        let rebuild = Arc::new(AtomicBool::new(false));
        let inbox =
            run::Inbox { commands: command_receiver, wake: wake.clone(), gone: gone.clone(), rebuild: rebuild.clone() };
        let lost = report_sender.clone();
        let thread = std::thread::Builder::new().name("replicate-worker".into()).spawn(move || {
            let told = report_sender.clone();
            let ran = catch_unwind(AssertUnwindSafe(|| run::run(config, inbox, report_sender)));
            if let Err(panic) = ran {
                // Nobody may believe that edits are still saved. The receiver may be gone.
                let _ = told.send(Report::Stopped(ended_by(&*panic)));
                resume_unwind(panic);
            }
        });
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                let message = format!("the operating system gives no thread to work on: {error}");
                let failure = Failure { kind: FailureKind::Store, collection: None, document: None, message };
                // The receiver is ours and alive.
                let _ = lost.send(Report::Stopped(failure));
                None
            }
        };
        Self { commands, reports, wake, gone, rebuild, thread }
    }

    /// Asks for something. Never blocks.
    pub fn send(&self, command: Command) {
        if let Command::RebuildStore = command {
            // Other commands wait until the store is open.
            self.rebuild.store(true, Ordering::Release);
        }
        // The thread takes commands until we are dropped.
        let _ = self.commands.send(command);
        self.wake.notify_one();
    }

    /// If the store turns out to be damaged, it is set aside, see [`Store::set_aside`](crate::store::Store::set_aside).
    pub fn rebuild_if_damaged(&self) {
        self.rebuild.store(true, Ordering::Release);
    }

    /// What was reported and not yet taken.
    pub fn try_recv(&self) -> Option<Report> {
        let report = self.reports.try_recv().ok();
        if report.is_some() && self.reports.is_empty() {
            // It may have been waiting for room.
            self.wake.notify_one();
        }
        report
    }
}

fn ended_by(panic: &(dyn Any + Send)) -> Failure {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!(
        "the worker ended by a panic ({}); nothing is saved or sent any more. Start the app again",
        words.unwrap_or("without words")
    );
    Failure { kind: FailureKind::Store, collection: None, document: None, message }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The thread ends when it has taken the last command of a closed channel.
        self.commands = crossbeam_channel::bounded(0).0;
        self.gone.store(true, Ordering::Release);
        self.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(target: "bevy_convex_replicate::worker", "the worker ended by a panic; what it had not written is lost");
        }
    }
}
