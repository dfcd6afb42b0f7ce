//! The link between the world and the worker.

use std::sync::atomic::{AtomicU64, Ordering};

use bevy::{platform::cell::SyncCell, prelude::*};
#[cfg(feature = "internals")]
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::worker::{Command, Report};

/// The worker's end of a [`Link`]. No call may block.
pub trait Port: Send + 'static {
    /// Accepts a command.
    fn send(&mut self, command: Command);
    /// The next report, if there is one.
    fn try_recv(&mut self) -> Option<Report>;
    /// The world has work left for another frame: wakes an app that sleeps between frames.
    fn wake(&self) {}
}

/// The world's link to its worker. Without a link, commands wait. [`ReplicatePlugin`](crate::plugin::ReplicatePlugin)
/// starts a [`Worker`](crate::worker) and inserts a link to it, unless the app has a link already.
#[derive(Resource)]
pub struct Link {
    port: SyncCell<Box<dyn Port>>,
    number: u64,
}

impl Link {
    /// A link to `port`.
    pub fn new(port: impl Port) -> Self {
        Self { port: SyncCell::new(Box::new(port)), number: next_link() }
    }

    /// A link whose other end is two channels: for a test that takes the worker's place.
    #[cfg(feature = "internals")]
    pub fn channels() -> (Self, Receiver<Command>, Sender<Report>) {
        let (commands, taken) = unbounded();
        let (given, reports) = unbounded();
        (Self::new(Channels { commands, reports }), taken, given)
    }

    /// Distinguishes the link from all others of this program.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn send(&mut self, command: Command) {
        self.port.get().send(command);
    }

    pub(crate) fn try_recv(&mut self) -> Option<Report> {
        self.port.get().try_recv()
    }

    pub(crate) fn wake(&mut self) {
        self.port.get().wake();
    }
}

/// Numbers links.
fn next_link() -> u64 {
    static LINKS: AtomicU64 = AtomicU64::new(0);
    LINKS.fetch_add(1, Ordering::Relaxed)
}

#[cfg(feature = "internals")]
struct Channels {
    commands: Sender<Command>,
    reports: Receiver<Report>,
}

#[cfg(feature = "internals")]
impl Port for Channels {
    fn send(&mut self, command: Command) {
        // If the other end is gone, the command has no effect.
        let _ = self.commands.send(command);
    }

    fn try_recv(&mut self) -> Option<Report> {
        // An empty channel and a closed one both have no report.
        self.reports.try_recv().ok()
    }
}
