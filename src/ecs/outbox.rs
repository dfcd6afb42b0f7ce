//! Commands that wait to be sent to the worker.

use bevy::{platform::cell::SyncCell, prelude::*};

use super::{failures, link::Link};
use crate::{DocumentKey, message::SyncStatus, record::Generation, worker::Command};

/// Commands for the worker. Hooks and commands add to it, and apply and capture send it.
#[derive(Resource)]
pub(crate) struct Outbox {
    commands: SyncCell<Vec<Command>>,
    /// Versions that the world shows, or has passed over on purpose.
    acknowledged: Vec<(DocumentKey, Generation)>,
    /// The number of edits that were added.
    edits: u64,
    /// The number of them that are durable, as the worker reports.
    saved: u64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { commands: SyncCell::new(Vec::new()), acknowledged: Vec::new(), edits: 0, saved: 0 }
    }
}

impl Outbox {
    /// Adds a command that is no edit.
    pub(crate) fn push(&mut self, command: Command) {
        self.commands.get().push(command);
    }

    /// Adds an edit.
    pub(super) fn push_edit(&mut self, edit: Command) {
        self.edits += 1;
        self.push(edit);
    }

    /// The world shows this version, or has passed it over on purpose.
    pub(super) fn acknowledge(&mut self, document: DocumentKey, generation: Generation) {
        self.acknowledged.push((document, generation));
    }

    /// The worker reports how many edits are durable.
    pub(super) fn set_saved(&mut self, saved: u64) {
        self.saved = saved;
    }

    /// The number of edits that are not durable yet.
    fn unsaved(&self) -> u64 {
        self.edits.saturating_sub(self.saved)
    }

    /// Takes all commands. Acknowledgements come last, because the worker needs [`Command::Kept`] before them.
    fn take(&mut self) -> Vec<Command> {
        let mut commands = std::mem::take(self.commands.get());
        if !self.acknowledged.is_empty() {
            commands.push(Command::Applied(std::mem::take(&mut self.acknowledged)));
        }
        commands
    }
}

/// Sends the worker the commands that wait, reports the failures that wait, and updates the status.
pub(super) fn send(world: &mut World) {
    // Without a link the commands wait until there is one.
    if world.contains_resource::<Link>() {
        let commands = world.resource_mut::<Outbox>().take();
        if !commands.is_empty() {
            let mut link = world.resource_mut::<Link>();
            commands.into_iter().for_each(|command| link.send(command));
        }
    }
    failures::report_all(world);
    let unsaved = world.resource::<Outbox>().unsaved();
    let mut status = world.resource_mut::<SyncStatus>();
    if status.unsaved != unsaved {
        status.unsaved = unsaved;
    }
}
