//! Commands that make and delete documents, and that control synchronising.

use bevy::{
    ecs::system::{EntityCommands, SystemParam},
    prelude::*,
};

use crate::{
    DocumentId,
    ecs::{DocumentIndex, Replicated, document},
    worker::Command as WorkerCommand,
};

/// Makes documents with [`Commands`].
pub trait DocumentCommandsExt {
    /// Spawns a new document: `bundle`, which has a component of a collection, with a [`DocumentId::random`].
    /// Spawning `(bundle, DocumentId::random())` does the same.
    fn insert_document<B: Bundle>(&mut self, bundle: B) -> EntityCommands<'_>;
}

impl DocumentCommandsExt for Commands<'_, '_> {
    fn insert_document<B: Bundle>(&mut self, bundle: B) -> EntityCommands<'_> {
        self.spawn((DocumentId::random(), bundle))
    }
}

/// Deletes documents and parts of them with [`EntityCommands`].
pub trait DocumentEntityCommandsExt {
    /// Deletes the document that this entity shows, on all devices, and despawns the entity. (Despawning alone deletes nothing: the
    /// document is only hidden from this world.) [`Collection::restore`](super::Collection::restore) takes it back.
    fn delete_document(&mut self);

    /// Removes `T` from this entity and its fields from the document that it shows, for everyone: in other apps the
    /// component is taken from the document's entity. (`remove::<T>()` alone takes it from this entity, and the
    /// document keeps its fields.) Inserting a `T` again puts it back.
    ///
    /// `T` must be one of several components of its collection; of a document with one component,
    /// [`delete_document`](Self::delete_document) is what is meant. A field of it that somebody else writes at the same
    /// time stays in the document; if that is not all of a `T`, the document does not fit until the component is
    /// inserted or removed again.
    fn remove_from_document<T: Replicated>(&mut self);
}

impl DocumentEntityCommandsExt for EntityCommands<'_> {
    fn delete_document(&mut self) {
        let entity = self.id();
        self.commands().queue(move |world: &mut World| document::delete_entity(world, entity));
    }

    fn remove_from_document<T: Replicated>(&mut self) {
        let entity = self.id();
        self.commands().queue(move |world: &mut World| document::remove_component::<T>(world, entity));
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

    /// Disconnects. Edits are saved on this machine and sent when online again.
    pub fn go_offline(&mut self) {
        self.send(|| WorkerCommand::Online(false));
    }

    /// Offers documents that were refused again.
    pub fn retry(&mut self) {
        self.send(|| WorkerCommand::Retry);
    }

    /// Sets a damaged store aside and makes a new one of what can be read of it, all of which is offered to the deployment, and of what the
    /// deployment has: at once if the store was refused as damaged ([`FailureKind::DamagedStore`](crate::worker::FailureKind::DamagedStore)); when the
    /// app starts the next time if it is open, and documents in it are damaged. The damaged files are kept, see
    /// [`Store::set_aside`](crate::store::Store::set_aside).
    pub fn rebuild_store(&mut self) {
        self.send(|| WorkerCommand::RebuildStore);
    }

    fn send(&mut self, command: fn() -> WorkerCommand) {
        self.commands.queue(move |world: &mut World| {
            if let Some(mut index) = world.get_resource_mut::<DocumentIndex>() {
                index.send(command());
            }
        });
    }
}
