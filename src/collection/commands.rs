//! Commands that make and delete documents, and control synchronising.

use bevy::{
    ecs::system::{EntityCommands, SystemParam},
    prelude::*,
};

use crate::{
    DocumentId,
    ecs::{Outbox, Replicated, document},
    worker::Command as WorkerCommand,
};

/// Makes documents with [`Commands`].
pub trait DocumentCommandsExt {
    /// Spawns a new document: `bundle`, which must have a component of a collection, with [`DocumentId::random`].
    /// `commands.spawn((DocumentId::random(), bundle))` does the same.
    fn spawn_document<B: Bundle>(&mut self, bundle: B) -> EntityCommands<'_>;
}

impl DocumentCommandsExt for Commands<'_, '_> {
    fn spawn_document<B: Bundle>(&mut self, bundle: B) -> EntityCommands<'_> {
        self.spawn((DocumentId::random(), bundle))
    }
}

/// Deletes documents and parts of them with [`EntityCommands`].
pub trait DocumentEntityCommandsExt {
    /// Deletes the document that this entity shows, on all devices, and despawns the entity. (Despawning alone deletes
    /// nothing: it hides the document from this world.) [`Collection::restore`](super::Collection::restore) takes the
    /// deletion back.
    fn delete_document(&mut self) -> &mut Self;

    /// Removes `T` from this entity, and its fields from the document that the entity shows, for everyone: other apps
    /// remove the component from the document's entity too. (`remove::<T>()` alone removes it from this entity, and the
    /// document keeps its fields.) Inserting a `T` again puts it back.
    ///
    /// `T` must be one of several components of its collection. To delete a document with one component, use
    /// [`delete_document`](Self::delete_document). If somebody else writes a field of it at the same time, that field
    /// stays in the document. If that is not all of a `T`, the document does not fit until the component is inserted or
    /// removed again.
    fn remove_from_document<T: Replicated>(&mut self) -> &mut Self;
}

impl DocumentEntityCommandsExt for EntityCommands<'_> {
    fn delete_document(&mut self) -> &mut Self {
        let entity = self.id();
        self.commands().queue(move |world: &mut World| document::delete_entity(world, entity));
        self
    }

    fn remove_from_document<T: Replicated>(&mut self) -> &mut Self {
        let entity = self.id();
        self.commands().queue(move |world: &mut World| document::remove_component::<T>(world, entity));
        self
    }
}

/// Switches synchronising on and off: a system parameter.
#[derive(SystemParam)]
pub struct SyncControl<'w, 's> {
    commands: Commands<'w, 's>,
}

impl SyncControl<'_, '_> {
    /// Connects to the deployment, and stays connected.
    pub fn go_online(&mut self) {
        self.send(|| WorkerCommand::Online(true));
    }

    /// Disconnects. Edits are saved on this machine, and sent when the app is online again.
    pub fn go_offline(&mut self) {
        self.send(|| WorkerCommand::Online(false));
    }

    /// Sends documents again that the deployment refused.
    pub fn retry(&mut self) {
        self.send(|| WorkerCommand::Retry);
    }

    /// Sets a damaged store aside and makes a new one. The new store gets the documents that can be read from the old
    /// one, which are sent to the deployment, and the documents of the deployment.
    ///
    /// If the store was refused as damaged ([`FailureKind::DamagedStore`](crate::worker::FailureKind::DamagedStore)),
    /// this happens at once. If it is open and documents in it are damaged, this happens when the app starts the next
    /// time. The damaged files are kept beside the new one.
    pub fn rebuild_store(&mut self) {
        self.send(|| WorkerCommand::RebuildStore);
    }

    fn send(&mut self, command: fn() -> WorkerCommand) {
        self.commands.queue(move |world: &mut World| {
            if let Some(mut outbox) = world.get_resource_mut::<Outbox>() {
                outbox.push(command());
            }
        });
    }
}
