//! Local-first, collaborative collections for Bevy.
//!
//! Add [`ReplicatePlugin`](plugin::ReplicatePlugin), register collections, and edit components as usual. Entities
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
//! [`Collection<T>`](collection::Collection) has the operations that web users know: `insert`, `update`, `delete`,
//! `get`. A document may hold several components:
//! [`replicate_components`](plugin::ReplicateAppExt::replicate_components).
//!
//! A [`DocumentRef<T>`](collection::DocumentRef) is a field that refers to another document. An `Entity` cannot do
//! that, because it has a meaning in one app only.
//! [`replicate_hierarchy`](plugin::ReplicateAppExt::replicate_hierarchy) keeps bevy's `ChildOf` in step with the
//! documents.
//!
//! Strings merge letter by letter. [`Counter`](format::Counter) adds up the counts of several people.
//! [`Scalar`](format::Scalar) is a string that is replaced whole. [`Timestamp`](format::Timestamp) and
//! [`Bytes`](format::Bytes) are times and bytes. Automerge's JavaScript library can read and write all documents.
//!
//! # In a frame
//!
//! [`ReplicateSystems`](ecs::ReplicateSystems) are the sets to order systems by. Changes from elsewhere are applied in
//! `PreUpdate`, within a time budget, and your edits are captured in `Last`. Neither does any disk, network or CRDT
//! work.
//!
//! - [`DocumentChanged`](message::DocumentChanged), [`CollectionReady`](message::CollectionReady),
//!   [`DeploymentRead`](message::DeploymentRead) and [`SyncFailed`](message::SyncFailed) are messages;
//!   [`DocumentEvent`](message::DocumentEvent) is `DocumentChanged` for observers.
//! - [`collection_ready`](ecs::collection_ready), [`deployment_read`](ecs::deployment_read),
//!   [`sync_live`](ecs::sync_live) and [`sync_offline`](ecs::sync_offline) are run conditions.
//! - [`SyncStatus`](message::SyncStatus) says whether the app is offline, catching up or live, and how much waits to be
//!   saved and sent.
//!
//! Mistakes in the code that builds an app panic with what to do. Everything that can fail while it runs is reported
//! with `SyncFailed`, and the app continues; [`FailureKind`](worker::FailureKind) lists the kinds of failure. `testing`
//! connects two apps for an app's own tests.
//!
//! # Modules
//!
//! | module | what is there |
//! | --- | --- |
//! | [`plugin`], [`collection`], [`message`] | what a Bevy app uses |
//! | [`ecs`] | replication in the world: capture, apply, and the entities that show documents |
//! | [`mod@format`] | serde values as Automerge documents |
//! | [`replica`] | documents, merging, unsent changes, checkpoints; without clock, disk or socket |
//! | [`store`] | SQLite |
//! | [`transport`] | the official Convex client |
//! | [`worker`] | the thread that drives them; the entry point without Bevy |
//! | [`backend`] | the embedded Convex-compatible backend |
//! | [`limits`] | every bound, with its reason |
//! | `testing` | two connected apps, for an app's own tests |
//!
//! With `default-features = false` the build has no Bevy.
#![forbid(unsafe_code)]

#[cfg(feature = "backend")]
pub mod backend;
mod chunk;
#[cfg(feature = "bevy")]
pub mod collection;
#[cfg(feature = "bevy")]
pub mod ecs;
mod failure;
pub mod format;
mod id;
pub mod limits;
#[cfg(feature = "bevy")]
pub mod message;
#[cfg(feature = "bevy")]
pub mod plugin;
mod record;
pub mod replica;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod sqlite;
mod status;
pub mod store;
#[cfg(all(feature = "bevy", feature = "backend"))]
pub mod testing;
pub mod transport;
#[cfg_attr(
    not(any(feature = "backend", test)),
    expect(dead_code, reason = "the half of the wire that only a backend speaks")
)]
mod wire;
pub mod worker;

pub use id::{CollectionIndex, DocumentId, DocumentKey};

/// The common imports of an app: `use bevy_convex_replicate::prelude::*;`.
pub mod prelude {
    #[cfg(all(feature = "bevy", feature = "backend"))]
    pub use crate::plugin::EmbeddedBackend;
    pub use crate::{
        DocumentId,
        format::{Bytes, Counter, ItemKey, KeyedList, Scalar, Timestamp, Whole},
    };
    #[cfg(feature = "bevy")]
    pub use crate::{
        collection::{
            Collection, DocumentCommandsExt, DocumentEntityCommandsExt, DocumentParent, DocumentRef, Documents,
            SyncControl,
        },
        ecs::{DocumentIndex, ReplicateSystems, collection_ready, deployment_read, sync_live, sync_offline},
        message::{
            ChangeKind, CollectionReady, DeploymentRead, DocumentChanged, DocumentEvent, Misfit, Refused,
            RefusedDocuments, SyncFailed, SyncStatus, UserChanged, UserWiped,
        },
        plugin::{ReplicateAppExt, ReplicatePlugin},
        replica::Origin,
        worker::{Connection, FailureKind},
    };
    #[doc(no_inline)]
    pub use serde::{Deserialize, Serialize};
}

/// The README's guide compiles.
#[cfg(all(doctest, feature = "bevy", feature = "backend"))]
#[doc = include_str!("../README.md")]
struct Readme;
