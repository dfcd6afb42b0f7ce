//! The line between the world and the worker.

use bevy::{platform::cell::SyncCell, prelude::*};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::worker::{Command, Report};

/// What the world talks to: takes commands and gives reports, neither of which may block.
pub trait Port: Send + 'static {
    /// Takes a command.
    fn send(&mut self, command: Command);
    /// The next report, if there is one.
    fn try_recv(&mut self) -> Option<Report>;
}

/// The world's end of the line. While there is none, commands are kept; the app plugin lays one to a
/// [`Worker`](crate::worker) when it starts, unless there is one already.
#[derive(Resource)]
pub struct Link(SyncCell<Box<dyn Port>>);

impl Link {
    /// A line to `port`.
    pub fn new(port: impl Port) -> Self {
        Self(SyncCell::new(Box::new(port)))
    }

    /// A line whose other end is two channels, for a front end's own worker or for a test that plays its part.
    pub fn channels() -> (Self, Receiver<Command>, Sender<Report>) {
        let (commands, taken) = unbounded();
        let (given, reports) = unbounded();
        (Self::new(Channels { commands, reports }), taken, given)
    }

    pub(crate) fn send(&mut self, command: Command) {
        self.0.get().send(command);
    }

    pub(crate) fn try_recv(&mut self) -> Option<Report> {
        self.0.get().try_recv()
    }
}

struct Channels {
    commands: Sender<Command>,
    reports: Receiver<Report>,
}

impl Port for Channels {
    fn send(&mut self, command: Command) {
        // The other end being gone means that nobody wants to know any more.
        let _ = self.commands.send(command);
    }

    fn try_recv(&mut self) -> Option<Report> {
        // Nothing yet, or never again: either way there is nothing.
        self.reports.try_recv().ok()
    }
}
