//! Documents that the deployment refuses, and the user whose documents are shown.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bevy::prelude::*;

use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    failure::Failure,
    record::{RefusalCode, RefusedWrite},
};

/// Marks an entity whose document the deployment refuses: this user's edits of it are kept and shown here, and nowhere
/// else. The deployment's rules may forbid them, or it cannot keep them.
///
/// They are offered again when the document is edited, at each connection, and by
/// [`Collection::retry`](crate::collection::Collection::retry).
/// [`Collection::discard`](crate::collection::Collection::discard) drops them. The mark is removed when the deployment
/// has accepted them, or they are discarded. It is also there after a restart, with or without a connection.
/// [`RefusedDocuments`] has the documents that no entity shows as well, such as one whose deletion is refused.
#[derive(Component, Reflect, Clone, Debug, PartialEq, Eq)]
#[reflect(opaque, Component, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Refused {
    /// When the deployment first refused the edits.
    pub since: SystemTime,
    /// The kind of the refusal.
    pub code: RefusalCode,
    /// The deployment's reason, for people.
    pub reason: String,
}

impl Refused {
    /// A mark with this reason, for an app's tests.
    pub fn new(since: SystemTime, code: RefusalCode, reason: impl Into<String>) -> Self {
        Self { since, code, reason: reason.into() }
    }
}

impl From<RefusedWrite> for Refused {
    fn from(RefusedWrite { since, code, reason }: RefusedWrite) -> Self {
        let since = UNIX_EPOCH + Duration::from_millis(since.try_into().unwrap_or(0));
        Self { since, code, reason }
    }
}

/// All documents that the deployment refuses: a resource.
#[derive(Resource, Default, Debug)]
pub struct RefusedDocuments(BTreeMap<(CollectionIndex, DocumentId), Refused>);

impl RefusedDocuments {
    /// The refusal of a document, if the deployment refuses it.
    pub fn get(&self, collection: CollectionIndex, id: &DocumentId) -> Option<&Refused> {
        self.0.get(&(collection, id.clone()))
    }

    /// The refused documents, by collection and name.
    pub fn iter(&self) -> impl Iterator<Item = (CollectionIndex, &DocumentId, &Refused)> {
        self.0.iter().map(|((collection, id), refused)| (*collection, id, refused))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn set(&mut self, DocumentKey { collection, id }: DocumentKey, refused: Option<Refused>) {
        match refused {
            Some(refused) => drop(self.0.insert((collection, id), refused)),
            None => drop(self.0.remove(&(collection, id))),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Another user is signed in, or nobody is any more: a message. The documents of the user before have left this world,
/// and those of this one follow.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserChanged {
    /// The user who is signed in now; `None` if nobody is.
    pub user: Option<String>,
}

impl UserChanged {
    /// A message, for an app's tests of systems that read it.
    pub fn new(user: Option<String>) -> Self {
        Self { user }
    }
}

/// The result of [`SyncControl::wipe`](crate::collection::SyncControl::wipe): a message.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserWiped {
    /// The user whose documents were to be deleted from this machine.
    pub user: String,
    /// How many edits that the deployment had not taken are lost. The error says why nothing was deleted.
    pub result: Result<u64, Failure>,
}

impl UserWiped {
    /// A message, for an app's tests of systems that read it.
    pub fn new(user: impl Into<String>, result: Result<u64, Failure>) -> Self {
        Self { user: user.into(), result }
    }
}
