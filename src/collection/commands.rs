//! Commands that make and delete documents, and control synchronising.

use std::{future::Future, sync::Arc};

use bevy::{
    ecs::system::{EntityCommands, SystemParam},
    prelude::*,
};

use crate::{
    DocumentId,
    ecs::{AccountRequest, AccountRequests, Outbox, Replicated, document},
    worker::{AuthToken, Command as WorkerCommand, Token},
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
        self.ask(AccountRequest::Online(true));
    }

    /// Disconnects. Edits are saved on this machine, and sent when the app is online again.
    pub fn go_offline(&mut self) {
        self.send(|| WorkerCommand::Online(false));
        self.ask(AccountRequest::Online(false));
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

    /// Shows the documents of this user, who authenticates with this token.
    ///
    /// Each user has a store of their own on this machine, so edits of one user are never sent under the token of
    /// another. This takes effect at the end of the frame. Edits of this frame still belong to the user before, and are
    /// kept: those that were not sent go out when that user signs in again. Then the entities of all documents are
    /// despawned without deleting anything, [`UserChanged`](crate::message::UserChanged) is written, and the documents
    /// that this machine has of the user appear, without a connection too. If this user is signed in already, only the
    /// token is replaced, and the connection is made anew.
    ///
    /// A user's name is any text. It must name the same person for ever: an id of the account rather than an address.
    pub fn sign_in(&mut self, user: impl Into<String>, token: impl Into<String>) {
        let (user, token) = (user.into(), token.into());
        let token = Token::of(user.clone(), token);
        self.sign_in_with(user, move |_| std::future::ready(Ok(Some(token.clone()))));
    }

    /// The same as [`sign_in`](Self::sign_in) with a token callback: see
    /// [`ReplicatePlugin::auth_as`](crate::plugin::ReplicatePlugin::auth_as).
    pub fn sign_in_with<F, R>(&mut self, user: impl Into<String>, token: F)
    where
        F: Fn(bool) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Token>, String>> + Send + 'static,
    {
        let auth: AuthToken = Arc::new(move |refresh| Box::pin(token(refresh)));
        self.ask(AccountRequest::SignIn { user: user.into(), auth: Some(auth), adopt: false });
    }

    /// The same as [`sign_in`](Self::sign_in), and the edits that were made on this machine while nobody was signed in
    /// become this user's. Otherwise they stay nobody's, and are shown again when nobody is signed in.
    pub fn sign_in_and_adopt(&mut self, user: impl Into<String>, token: impl Into<String>) {
        let (user, token) = (user.into(), token.into());
        let token = Token::of(user.clone(), token);
        let auth: AuthToken = Arc::new(move |_| Box::pin(std::future::ready(Ok(Some(token.clone())))));
        self.ask(AccountRequest::SignIn { user, auth: Some(auth), adopt: true });
    }

    /// Nobody is signed in any more. This takes effect at the end of the frame: the connection ends, and the entities
    /// of all documents are despawned without deleting anything. The user's documents stay on this machine, also edits
    /// that were not sent, which go out when the user signs in again. Documents that were made while nobody was signed
    /// in appear. They are not synchronised.
    pub fn sign_out(&mut self) {
        self.ask(AccountRequest::SignOut);
    }

    /// Deletes the documents of this user from this machine; if the user is signed in, after signing out. With
    /// `lose_unsent`, edits that the deployment has not taken are lost. Without it, such edits are a reason to delete
    /// nothing. [`UserWiped`](crate::message::UserWiped) says how many edits were lost, or why nothing was deleted. The
    /// deployment keeps everything it has.
    pub fn wipe(&mut self, user: impl Into<String>, lose_unsent: bool) {
        self.ask(AccountRequest::Wipe { user: user.into(), lose_unsent });
    }

    fn ask(&mut self, request: AccountRequest) {
        self.commands.queue(move |world: &mut World| {
            if let Some(mut requests) = world.get_resource_mut::<AccountRequests>() {
                requests.0.push(request);
            }
        });
    }

    fn send(&mut self, command: fn() -> WorkerCommand) {
        self.commands.queue(move |world: &mut World| {
            if let Some(mut outbox) = world.get_resource_mut::<Outbox>() {
                outbox.push(command());
            }
        });
    }
}
