//! The user whose documents this world shows, and the way to those of another.

use bevy::prelude::*;

use super::{
    arrival::Progress,
    claims::Claims,
    edit::capture_now,
    family::Hierarchy,
    index::DocumentIndex,
    link::Link,
    outbox::{self, Outbox},
};
use crate::{
    DocumentId,
    message::{RefusedDocuments, SyncStatus, UserChanged},
    worker::AuthToken,
};

/// How often entities are despawned that observers made of others. An observer may make them without end.
const ROUNDS: usize = 8;

/// A request of the app that changes whose documents are shown.
pub(crate) enum AccountRequest {
    /// This user signs in.
    SignIn {
        user: String,
        auth: Option<AuthToken>,
        /// Whether the edits made while nobody was signed in become this user's.
        adopt: bool,
    },
    /// Nobody is signed in any more.
    SignOut,
    /// The sessions from now on connect, or do not. The present one is told by a command.
    Online(bool),
    /// This user's documents are deleted from this machine.
    Wipe { user: String, lose_unsent: bool },
}

/// Requests that wait for the end of the frame.
#[derive(Resource, Default)]
pub(crate) struct AccountRequests(pub(crate) Vec<AccountRequest>);

/// Counts the sessions of users. What apply has in its queue belongs to one of them.
#[derive(Resource, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session(u64);

/// Ends the session: captures what was edited, takes the documents out of this world, and returns the link to the
/// worker, which is to be dropped. Nothing that is captured from now on belongs to the user before.
pub(crate) fn end_session(world: &mut World) -> Option<Link> {
    let shown: Vec<Entity> = world.resource::<DocumentIndex>().entities().collect();
    for entity in shown {
        capture_now(&mut world.into(), entity);
    }
    outbox::send(world);
    let link = world.remove_resource::<Link>();
    world.resource_mut::<Session>().0 += 1;
    *world.resource_mut::<Progress>() = Progress::default();
    world.resource_mut::<RefusedDocuments>().clear();
    // Observers of the entities that go may make others of what they saw. Those are no documents of anybody either.
    for _ in 0..ROUNDS {
        // Before the entities go: a document that is not in the index is not captured.
        forget(world);
        let documents = documents(world);
        if documents.is_empty() {
            break;
        }
        for entity in documents {
            // Its parent may have gone before it.
            let _ = world.try_despawn(entity);
        }
        world.flush();
    }
    forget(world);
    // Without the last error too, which may name a document of this user.
    *world.resource_mut::<SyncStatus>() = SyncStatus::default();
    link
}

/// Forgets which entity shows which document, and what was captured since the link was taken.
fn forget(world: &mut World) {
    world.resource_mut::<DocumentIndex>().forget();
    *world.resource_mut::<Claims>() = Claims::default();
    *world.resource_mut::<Outbox>() = Outbox::default();
    if let Some(mut hierarchy) = world.get_resource_mut::<Hierarchy>() {
        hierarchy.forget();
    }
}

/// All entities with an identity. A query would leave out disabled ones.
fn documents(world: &World) -> Vec<Entity> {
    let Some(identity) = world.component_id::<DocumentId>() else { return Vec::new() };
    let archetypes = world.archetypes().iter().filter(|archetype| archetype.contains(identity));
    archetypes.flat_map(|archetype| archetype.entities().iter().map(|entity| entity.id())).collect()
}

/// Begins the session of another user, or of nobody.
pub(crate) fn begin_session(world: &mut World, link: Link, user: Option<String>) {
    world.insert_resource(link);
    world.resource_mut::<SyncStatus>().user.clone_from(&user);
    world.write_message(UserChanged::new(user));
}
