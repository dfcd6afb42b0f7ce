//! Failures, which every room reports in the same form and the app receives.

use crate::id::DocumentId;

/// A failure, with the collection and document concerned and a remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", self.place())]
#[non_exhaustive]
pub struct Failure {
    /// The kind of the failure.
    pub kind: FailureKind,
    /// The collection, if one is concerned.
    pub collection: Option<String>,
    /// The document, if one is concerned.
    pub document: Option<DocumentId>,
    /// A description of the failure, and what to do.
    pub message: String,
}

impl Failure {
    /// A failure of no particular collection or document: for an app's own tests, which set the fields that they need.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, collection: None, document: None, message: message.into() }
    }

    pub(crate) fn place(&self) -> String {
        match (&self.collection, &self.document) {
            (Some(collection), Some(document)) => format!("{collection}/{document}: "),
            (Some(collection), None) => format!("{collection}: "),
            _ => String::new(),
        }
    }
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The store cannot be opened, read or written. Edits are kept in memory and tried again.
    Store,
    /// The store, or a document in it, is damaged. [`Command::RebuildStore`](crate::worker::Command::RebuildStore)
    /// makes a new one of what can be read and of what the deployment has. Until then edits are kept in memory.
    DamagedStore,
    /// A damaged store was set aside, as the app asked. This failure names the data that could not be read.
    SetAside,
    /// The deployment refused a document's changes. They are kept, and offered again with the next edit of the
    /// document: at once the first time, and after a while if that was refused as well. The same refusal of the same
    /// document is reported once.
    Refused,
    /// Others deleted the document, and the deployment has removed its history. This app still had unsent edits of it;
    /// they are lost. The document's components are removed after this failure. An observer of that removal can read
    /// them for the last time, and can copy them into a new document.
    Pruned,
    /// The deployment does not let us read a collection.
    Unreadable,
    /// The deployment refused the token, or the app's callback gave none.
    Unauthenticated,
    /// The token callback gave a token of another user than the one who is signed in, so the app did not connect.
    OtherUser,
    /// The deployment's URL is invalid.
    Deployment,
    /// A document does not fit the component, or the component's own code failed on it. The stored document stays as it
    /// is. The entity keeps its last value, and has the component `Misfit` until the document fits again.
    Misfit,
    /// An edit was refused here: it cannot be written as a document, read back by its own type, or sent. The document
    /// stays without it, the entity goes on holding the value, and later edits are taken as usual.
    Unwritable,
    /// A chunk from the deployment is damaged.
    Damaged,
    /// A collection or a component was not registered.
    Registration,
    /// An entity cannot be the document it names, or there is no such document.
    Identity,
    /// The deployment refuses this app's presence, or does not give the others'.
    Presence,
    /// The embedded backend does not run.
    Host,
}
