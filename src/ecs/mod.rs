//! Replication in the world: capture (world to edits), apply (versions to world), and the entities that show documents.
//!
//! # A frame
//!
//! ```text
//! PreUpdate  Apply    Takes in the worker's reports, and moves versions of documents into the world, within a time
//!                     budget. If a document was edited meanwhile, the edit is captured first, and the version waits
//!                     for one that includes the edit.
//! ..                  Your systems.
//! Last       Capture  Clones the components that changed since the last capture, and sends them to the worker.
//! ```
//!
//! A value that would be gone by then (a component that is removed, an entity that is despawned or stops being a
//! document) is captured by an observer or a hook when it goes. Nothing is serialised on the main thread.
//!
//! # The files
//!
//! Imports point from the later rows to the earlier ones.
//!
//! | files | what is there |
//! | --- | --- |
//! | `link`, `failures`, `outbox` | the way to the worker and to the app |
//! | `ticks`, `claims`, `compared`, `pending`, `entry`, `index` | the state: entities, documents, known changes |
//! | `coding`, `conversion`, `form`, `scan`, `collections` | the collections and their component types |
//! | `edit`, `component`, `tuple`, `typed` | capture of one entity, and what is done with each component type |
//! | `association`, `identity` | entities become documents and stop being ones |
//! | `reference`, `parent`, `kind`, `family`, `child_of` | references between documents, and `ChildOf` |
//! | `budget`, `version`, `answer`, `arrival`, `document` | one version, one answer, news, and one command |
//! | `presence`, `interpolate` | what apps show each other and is not stored |
//! | `refusals`, `account` | marks of refused documents; the way to another user's documents |
//! | `schedule`, `apply`, `capture`, `hierarchy` | the systems |

mod account;
mod answer;
mod apply;
mod arrival;
mod association;
mod budget;
mod capture;
mod child_of;
mod claims;
mod coding;
mod collections;
mod compared;
mod component;
mod conversion;
pub(crate) mod document;
mod edit;
mod entry;
mod failures;
mod family;
mod form;
pub(crate) mod hierarchy;
mod identity;
mod index;
pub(crate) mod interpolate;
mod kind;
mod link;
mod outbox;
mod parent;
mod pending;
pub(crate) mod presence;
mod reference;
mod refusals;
mod scan;
mod schedule;
mod ticks;
mod tuple;
mod typed;
mod version;

pub(crate) use account::{AccountRequest, AccountRequests, Session, begin_session, end_session};
pub(crate) use apply::apply;
#[cfg(feature = "internals")]
pub use arrival::Arrival;
pub(crate) use arrival::Progress;
pub use arrival::{collection_ready, deployment_read, sync_live, sync_offline};
pub(crate) use budget::ApplyBudget;
pub(crate) use capture::{capture, close_on_exit};
pub(crate) use claims::Claims;
pub use coding::Replicated;
pub(crate) use collections::Collections;
pub(crate) use component::LocalParts;
pub(crate) use conversion::Conversions;
pub use conversion::Convert;
pub(crate) use failures::Failures;
#[cfg(feature = "backend")]
pub(crate) use failures::report;
pub use index::DocumentIndex;
pub use link::{Link, Port};
pub(crate) use outbox::Outbox;
pub use parent::DocumentParent;
pub use presence::{PeerUser, Presence};
pub use reference::{DocumentRef, Documents};
pub use schedule::ReplicateSystems;
pub(crate) use ticks::{Ticks, check_ticks};
pub use tuple::DocumentComponents;
pub(crate) use tuple::sealed::Tuple;
pub(crate) use typed::Typed;
