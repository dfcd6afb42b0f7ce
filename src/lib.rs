//! Local-first, collaborative collections for Bevy.
//!
//! Add [`ReplicatePlugin`], register collections, and edit components as usual. Entities
//! become documents: each edit is saved on this machine, merges with the edits of others, and is sent to Convex or to
//! the embedded backend when there is a network.
//!
//! # Quick start
//!
//! ```no_run
//! use bevy::prelude::*;
//! use bevy_convex_replicate::prelude::*;
//!
//! #[derive(Component, Serialize, Deserialize, Clone)]
//! struct Task {
//!     text: String,
//!     done: bool,
//! }
//!
//! App::new()
//!     .add_plugins(MinimalPlugins)
//!     // The first instance hosts the backend, and all others with the same address join it.
//!     .add_plugins(ReplicatePlugin::new("my-app").host("127.0.0.1:3210"))
//!     .replicate::<Task>("tasks")
//!     .add_systems(Update, (complete_all, announce))
//!     .run();
//!
//! // Editing a component edits the document. There is nothing else to call.
//! fn complete_all(mut tasks: Query<&mut Task>) {
//!     for mut task in &mut tasks {
//!         if !task.done {
//!             task.done = true;
//!         }
//!     }
//! }
//!
//! // The documents that changed this frame, and where the change comes from.
//! fn announce(mut changes: MessageReader<DocumentChanged<Task>>) {
//!     for change in changes.read() {
//!         println!("{:?} {} by {:?}", change.kind, change.id, change.origin);
//!     }
//! }
//! ```
//!
//! # Documents
//!
//! A component needs serde's `Serialize` and `Deserialize` to be part of a document. An entity with such a component
//! and a [`DocumentId`] is a document. Deleting one is explicit:
//!
//! ```
//! # use bevy::prelude::*;
//! # use bevy_convex_replicate::prelude::*;
//! # #[derive(Component, Serialize, Deserialize, Clone)]
//! # struct Task { text: String }
//! fn keep(mut commands: Commands, old: Query<Entity, With<Task>>) {
//!     commands.spawn((Task { text: "write it down".into() }, DocumentId::random()));
//!     for entity in &old {
//!         // Despawning would only hide the document: leaving a level must not delete it.
//!         commands.entity(entity).delete_document();
//!     }
//! }
//! ```
//!
//! [`Collection<T>`](Collection) has the operations that web users know: `insert`, `update`, `delete`,
//! `get`. A document may hold several components:
//! [`replicate_components`](ReplicateAppExt::replicate_components).
//!
//! A [`DocumentRef<T>`](DocumentRef) is a field that refers to another document. An `Entity` cannot do
//! that, because it has a meaning in one app only.
//! [`replicate_hierarchy`](ReplicateAppExt::replicate_hierarchy) keeps bevy's `ChildOf` in step with the
//! documents.
//!
//! Strings merge letter by letter. [`Counter`] adds up the counts of several people.
//! [`Scalar`] is a string that is replaced whole. [`Timestamp`] and
//! [`Bytes`] are times and bytes. Automerge's JavaScript library can read and write all documents.
//!
//! # Presence
//!
//! Cursors, names and positions are not documents. [`replicate_presence`](ReplicateAppExt::replicate_presence) shows a
//! value of each app to the others for as long as it is connected: see [`Presence`].
//!
//! # In a frame
//!
//! [`ReplicateSystems`] are the sets to order systems by. Changes from elsewhere are applied in `PreUpdate`, within a
//! time budget, and your edits are captured in `Last`. Neither does any disk, network or CRDT work.
//!
//! - [`DocumentChanged`], [`CollectionReady`], [`DeploymentRead`] and [`SyncFailed`] are messages; [`DocumentEvent`] is
//!   `DocumentChanged` for observers.
//! - [`collection_ready`], [`deployment_read`], [`sync_live`] and [`sync_offline`] are run conditions.
//! - [`SyncStatus`] says whether the app is offline, catching up or live, and how much waits to be saved and sent.
//!
//! A component may change in every frame: captures that wait for the worker are one edit, and
//! [`rate`](ReplicateAppExt::rate) bounds the edits of a collection further. An app that sleeps between frames is woken
//! with [`ReplicatePlugin::waker`].
//!
//! A mistake in the code that builds an app causes a panic. Its message says what to do. Everything that can fail while
//! the app runs is reported with `SyncFailed`, and the app continues; [`FailureKind`] lists the kinds of failure.
//!
//! # Where things are
//!
//! | module | what is there |
//! | --- | --- |
//! | this one | everything that a Bevy app uses |
//! | [`prelude`] | the part of it that most apps import |
//! | `testing` | two connected apps, for an app's own tests (features `bevy` and `backend`) |
//! | `backend` | the embedded backend, for programs that host it themselves (feature `backend`) |
//! | [`client`] | the client without Bevy: for other engines and for tools |
//!
//! The features `bevy` and `backend` are on by default. With `default-features = false` the build has no Bevy, and
//! [`client`] is the entry point.
#![forbid(unsafe_code)]

#[cfg(feature = "backend")]
pub mod backend;
mod chunk;
pub mod client;
#[cfg(feature = "bevy")]
mod collection;
#[cfg(all(feature = "bevy", not(feature = "internals")))]
mod ecs;
#[cfg(all(feature = "bevy", feature = "internals"))]
pub mod ecs;
mod failure;
#[cfg(not(feature = "internals"))]
mod format;
#[cfg(feature = "internals")]
pub mod format;
mod id;
#[cfg(not(feature = "internals"))]
#[cfg_attr(not(any(feature = "backend", test)), expect(dead_code, reason = "the bounds that only a backend keeps"))]
mod limits;
#[cfg(feature = "internals")]
pub mod limits;
#[cfg(feature = "bevy")]
mod message;
#[cfg(all(feature = "bevy", not(feature = "internals")))]
mod plugin;
#[cfg(all(feature = "bevy", feature = "internals"))]
pub mod plugin;
mod record;
#[cfg(not(feature = "internals"))]
mod replica;
#[cfg(feature = "internals")]
pub mod replica;
#[cfg(feature = "simulation")]
pub mod simulation;
mod sqlite;
mod status;
#[cfg(not(feature = "internals"))]
mod store;
#[cfg(feature = "internals")]
pub mod store;
#[cfg(all(feature = "bevy", feature = "backend"))]
pub mod testing;
#[cfg(not(feature = "internals"))]
mod transport;
#[cfg(feature = "internals")]
pub mod transport;
#[cfg_attr(
    not(any(feature = "backend", test)),
    expect(dead_code, reason = "the half of the wire that only a backend speaks")
)]
mod wire;
#[cfg(not(feature = "internals"))]
mod worker;
#[cfg(feature = "internals")]
pub mod worker;

// Names, values and failures. These do not need Bevy.
pub use failure::{Failure, FailureKind};
pub use format::{Bytes, Counter, FormatError, ItemKey, KeyedList, Merge, Scalar, Timestamp, Value, Whole, position};
pub use id::{CollectionIndex, DocumentId, DocumentKey};
pub use record::{Origin, PeerId, RefusalCode, UserId};
pub use status::{Connection, Reason};
pub use transport::{LOG_FILTER, Token};

// Adding the plugin and registering collections.
#[cfg(feature = "bevy")]
pub use ecs::{Convert, DocumentComponents, ReplicateSystems, Replicated};
#[cfg(all(feature = "bevy", feature = "backend"))]
pub use plugin::{EmbeddedBackend, Hosted};
#[cfg(feature = "bevy")]
pub use plugin::{ReplicateAppExt, ReplicatePlugin};

// Documents in systems.
#[cfg(feature = "bevy")]
pub use collection::{
    Collection, DocumentCommandsExt, DocumentEntityCommandsExt, DocumentParent, DocumentRef, Documents, SyncControl,
};
#[cfg(feature = "bevy")]
pub use ecs::{DocumentIndex, PeerUser, Presence};

// Messages, the status and run conditions.
#[cfg(feature = "bevy")]
pub use ecs::{collection_ready, deployment_read, sync_live, sync_offline};
#[cfg(feature = "bevy")]
pub use message::{
    ChangeKind, CollectionReady, DeploymentRead, DocumentChanged, DocumentEvent, Misfit, Refused, RefusedDocuments,
    SyncFailed, SyncStatus, UserChanged, UserWiped,
};

/// The common imports of an app: `use bevy_convex_replicate::prelude::*;`.
pub mod prelude {
    #[cfg(all(feature = "bevy", feature = "backend"))]
    pub use crate::EmbeddedBackend;
    pub use crate::{
        Bytes, Connection, Counter, DocumentId, FailureKind, ItemKey, KeyedList, Origin, PeerId, Scalar, Timestamp,
        Whole,
    };
    #[cfg(feature = "bevy")]
    pub use crate::{
        ChangeKind, Collection, CollectionReady, DeploymentRead, DocumentChanged, DocumentCommandsExt,
        DocumentEntityCommandsExt, DocumentEvent, DocumentParent, DocumentRef, Documents, Misfit, PeerUser, Presence,
        Refused, RefusedDocuments, ReplicateAppExt, ReplicatePlugin, ReplicateSystems, SyncControl, SyncFailed,
        SyncStatus, UserChanged, UserWiped, collection_ready, deployment_read, sync_live, sync_offline,
    };
    #[doc(no_inline)]
    pub use serde::{Deserialize, Serialize};
}

/// The README's guide compiles.
#[cfg(all(doctest, feature = "bevy", feature = "backend"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The guide to presence compiles.
#[cfg(all(doctest, feature = "bevy"))]
#[doc = include_str!("../docs/presence.md")]
struct PresenceGuide;
