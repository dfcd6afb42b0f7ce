//! One background thread that drives replica, store and transport.
//!
//! A front end (the plugin, or another one with `default-features = false`) starts a [`Worker`], sends it [`Command`]s
//! and takes [`Report`]s; neither call ever blocks. All disk, network and CRDT work happens behind it.
//!
//! # Threads
//!
//! The worker's thread runs a single-threaded tokio runtime: it owns the replica, and the transport's tasks share it. A
//! second thread owns the store, because a synchronised write takes as long as the disk needs. All writes that wait
//! become one transaction. Both end when the [`Worker`] is dropped, after every edit sent before is on the disk.

mod bell;
mod disk;
mod run;
mod running;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;
mod status;
mod waiting;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::Notify;

use crate::{
    CollectionIndex, DocumentKey,
    format::{FormatError, Value},
    record::{Edit, EditSeq, Generation, Kept, Origin, RefusedWrite, Schema},
    store::user_path,
};
pub use bell::Waker;
use bell::{Bell, Reports};
// These are re-exported for this room's callers.
#[cfg(feature = "bevy")]
pub use crate::transport::Token;
pub use crate::{
    failure::{Failure, FailureKind},
    status::{Connection, Status},
    transport::AuthToken,
};

/// The functions that the worker needs of a collection's types.
pub trait Codec: Schema {
    /// Turns a document into the front end's form. Parts that do not fit are left out, and named in the result.
    fn decode(&self, document: &Value) -> Decoded;
}

/// A document as the front end shows it.
pub struct Decoded {
    /// The front end's own type.
    pub content: Box<dyn Any + Send>,
    /// The parts that do not fit.
    pub problems: Vec<FormatError>,
    /// Bit `i` for each of the collection's component types with a part in the document that does not fit.
    pub misfits: u32,
}

/// The parts of a document that do not fit its components.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "internals"), non_exhaustive)]
pub struct MisfitParts {
    /// Bit `i` for each of the collection's component types.
    pub components: u32,
    /// The problems, with their places.
    pub problems: Vec<FormatError>,
}

/// A captured value, to be serialised off the main thread.
pub trait Encode: Send + 'static {
    /// The value, and a mask with bit `i` for each of the collection's component types that the value speaks of.
    fn encode(&self) -> Result<(Value, u32), FormatError>;

    /// The mask that [`encode`](Self::encode) returns, if the value holds each of these component types whole. A
    /// capture that waits is dropped when a later one of the same document holds all of its component types, because
    /// the later edit includes it. `None` keeps the capture, in its order.
    fn components(&self) -> Option<u32> {
        None
    }
}

/// A collection of an app.
#[non_exhaustive]
pub struct CollectionConfig {
    /// Its name: the module of its functions.
    pub name: String,
    /// Its types.
    pub codec: Arc<dyn Codec>,
    /// The shortest time between two edits of a document: captures that come earlier wait, and become one edit. Zero is
    /// no bound.
    pub interval: Duration,
}

impl CollectionConfig {
    /// The collection of this name, with its types.
    pub fn new(name: impl Into<String>, codec: impl Codec) -> Self {
        Self { name: name.into(), codec: Arc::new(codec), interval: Duration::ZERO }
    }

    /// Edits a document at most once in this time. The last captures are edited and saved when the worker is dropped.
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }
}

/// The settings of a worker.
#[non_exhaustive]
pub struct WorkerConfig {
    /// The store's file. Its folder is made if need be. With a [`user`](Self::user), the file is
    /// [`user_path`](crate::store::user_path) of this path.
    pub store: PathBuf,
    /// The user whose edits these are. Each user has a file; edits in it go out only under a token of that user. `None`
    /// for an app without users, or while nobody is signed in.
    pub user: Option<String>,
    /// The deployment, e.g. `https://happy-otter-123.convex.cloud`; `None`: not synchronised.
    pub deployment: Option<String>,
    /// How to authenticate there.
    pub auth: Option<AuthToken>,
    /// Whether to connect at once.
    pub online: bool,
    /// The collections, in the order of their [`CollectionIndex`].
    pub collections: Vec<CollectionConfig>,
    /// Wakes a front end that sleeps when a report comes.
    pub waker: Option<Waker>,
}

impl WorkerConfig {
    /// A worker that keeps documents in this file and does not synchronise. It has no collections yet.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            user: None,
            deployment: None,
            auth: None,
            online: true,
            collections: Vec::new(),
            waker: None,
        }
    }

    /// Keeps the edits of this user, in a file of their own.
    pub fn user(self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    /// Calls `wake` when a report comes: once, until [`Worker::try_recv`] has returned `None`.
    pub fn waker(self, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { waker: Some(Arc::new(wake)), ..self }
    }

    /// Synchronises with the deployment at this URL.
    pub fn deployment(self, url: impl Into<String>) -> Self {
        Self { deployment: Some(url.into()), ..self }
    }

    /// Authenticates at the deployment with the tokens of this callback.
    pub fn auth(self, token: AuthToken) -> Self {
        Self { auth: Some(token), ..self }
    }

    /// Starts without a connection. [`Command::Online`] makes one.
    pub fn offline(self) -> Self {
        Self { online: false, ..self }
    }

    /// Adds a collection. The first one has the [`CollectionIndex`] 0.
    pub fn collection(mut self, collection: CollectionConfig) -> Self {
        self.collections.push(collection);
        self
    }

    /// The file with the edits of this user.
    pub(crate) fn file(&self) -> PathBuf {
        match &self.user {
            Some(user) => user_path(&self.store, user),
            None => self.store.clone(),
        }
    }
}

/// A request of a front end.
#[cfg_attr(not(feature = "internals"), non_exhaustive)]
pub enum Command {
    /// The front end edited a document.
    Edit(Edit<Box<dyn Encode>>),
    /// The front end shows these generations now, or has dropped them on purpose.
    Applied(Vec<(DocumentKey, Generation)>),
    /// The front end shows a version in part. This is sent before [`Command::Applied`] of that version.
    Kept(Kept),
    /// The front end needs the document's current state again, as a delta of origin [`Origin::Stored`].
    Show(DocumentKey),
    /// Connect, or go offline.
    Online(bool),
    /// Offer refused documents again.
    Retry,
    /// Offer this refused document again.
    RetryOne(DocumentKey),
    /// Drop the changes of this refused document that the deployment lacks. The document is then as the deployment has
    /// it; if it was new, it goes.
    Discard(DocumentKey),
    /// Set a damaged store aside and make a new one of what can be read. If a store cannot be opened because it is
    /// damaged, now or later in this run, it is set aside at once. An open store is set aside when it is opened the
    /// next time. The damaged files are kept beside the new one.
    RebuildStore,
}

/// A report to a front end.
// Tests play the worker's part, and shall name every field and variant.
#[cfg_attr(not(feature = "internals"), non_exhaustive)]
pub enum Report {
    /// A version of a document. `content` is [`Decoded::content`], or `None` if the document is deleted.
    Delta {
        /// The document.
        document: DocumentKey,
        /// Its number.
        generation: Generation,
        /// The last edit it includes.
        seen: EditSeq,
        /// The content to show.
        content: Option<Box<dyn Any + Send>>,
        /// The parts that do not fit, and which component types they concern ([`Decoded::misfits`]).
        misfit: Option<Box<MisfitParts>>,
        /// The origin of the version.
        origin: Origin,
    },
    /// Everything the store had of this collection has been reported.
    Ready(CollectionIndex),
    /// `read`: everything that the deployment had of this collection when the connection was made has been reported.
    /// Not `read`: this no longer holds, because the connection ended or the collection is read anew. A collection that
    /// the deployment refuses to give is not read. Without a deployment a collection is read as soon as it is
    /// [`Ready`](Self::Ready).
    Read {
        /// The collection.
        collection: CollectionIndex,
        /// Whether the collection is read now.
        read: bool,
    },
    /// An edit was compared with the value that the front end had been shown.
    Compared {
        /// The document.
        document: DocumentKey,
        /// The count of the edit.
        seq: EditSeq,
        /// The root fields that the edit changed. Empty if it changed nothing, or was not taken in.
        fields: Vec<String>,
    },
    /// The deployment refuses this document's changes; or, with `None`, it does so no longer. Reported at the start for
    /// documents that were refused in an earlier run.
    Refused {
        /// The document.
        document: DocumentKey,
        /// Since when, and why.
        refused: Option<RefusedWrite>,
    },
    /// Something failed; everything else goes on.
    Failed(Failure),
    /// The present status.
    Status(Status),
    /// The worker has ended early, or could not start: nothing is saved or sent any more. This is the last report.
    Stopped(Failure),
}

/// A running worker. Dropping it waits until every edit sent is on the disk.
pub struct Worker {
    commands: Sender<Command>,
    reports: Receiver<Report>,
    bell: Arc<Bell>,
    wake: Arc<Notify>,
    gone: Arc<AtomicBool>,
    rebuild: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the worker. Never blocks and never fails: errors, now or later, are reported.
    pub fn start(config: WorkerConfig) -> Self {
        let (commands, command_receiver) = crossbeam_channel::unbounded();
        let (report_sender, reports) = crossbeam_channel::unbounded();
        let wake = Arc::new(Notify::new());
        let gone = Arc::new(AtomicBool::new(false));
        let rebuild = Arc::new(AtomicBool::new(false));
        let inbox =
            run::Inbox { commands: command_receiver, wake: wake.clone(), gone: gone.clone(), rebuild: rebuild.clone() };
        let bell = Arc::new(Bell::new(config.waker.clone()));
        let report_sender = Reports::new(report_sender, bell.clone());
        let lost = report_sender.clone();
        let thread = std::thread::Builder::new().name("replicate-worker".into()).spawn(move || {
            let told = report_sender.clone();
            let ran = catch_unwind(AssertUnwindSafe(|| run::run(config, inbox, report_sender)));
            if let Err(panic) = ran {
                // The front end must learn that edits are no longer saved.
                told.send(Report::Stopped(ended_by(&*panic)));
                resume_unwind(panic);
            }
        });
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                let message = format!("the operating system cannot start the worker's thread: {error}");
                let failure = Failure { kind: FailureKind::Store, collection: None, document: None, message };
                lost.send(Report::Stopped(failure));
                None
            }
        };
        Self { commands, reports, bell, wake, gone, rebuild, thread }
    }

    /// Sends a command. It never blocks.
    pub fn send(&self, command: Command) {
        if let Command::RebuildStore = command {
            // Other commands wait until the store is open.
            self.rebuild.store(true, Ordering::Release);
        }
        // The thread takes commands until this worker is dropped.
        let _ = self.commands.send(command);
        self.wake.notify_one();
    }

    /// Sets the store aside if it turns out to be damaged, as [`Command::RebuildStore`] does.
    pub fn rebuild_if_damaged(&self) {
        self.rebuild.store(true, Ordering::Release);
    }

    /// The next report, if there is one.
    pub fn try_recv(&self) -> Option<Report> {
        let report = self.reports.try_recv().ok().or_else(|| {
            self.bell.reset();
            // A report may have come before the reset, and nothing is said of it.
            self.reports.try_recv().ok()
        });
        if report.is_some() && self.reports.is_empty() {
            // The worker may have stopped reading pages because too many reports waited.
            self.wake.notify_one();
        }
        report
    }
}

#[cfg(feature = "bevy")]
impl Worker {
    /// Wakes the front end, which has work left for another frame.
    pub(crate) fn wake_front_end(&self) {
        self.bell.wake();
    }
}

fn ended_by(panic: &(dyn Any + Send)) -> Failure {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!(
        "the worker ended by a panic ({}); nothing is saved or sent any more. Restart the app",
        words.unwrap_or("without a message")
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
            tracing::error!(target: "bevy_convex_replicate::worker", "the worker ended by a panic; edits that were not written are lost");
        }
    }
}
