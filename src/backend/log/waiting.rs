//! Parts of chunks whose other parts are still to come.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::record::UserId;

/// Whose parts wait. The parts of each sender are kept apart from all others: nobody fills the room of another, and
/// nobody spoils another's chunk by a part that does not fit.
///
/// The scope is the one that the push names, and not the one that the document is in. A client names the same scope
/// with each part of a chunk, while a document without changes may enter another scope in the meantime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::backend) struct Sender {
    /// The verified user. `None`: nobody with a name.
    pub user: Option<UserId>,
    /// The scope that the push names.
    pub scope: Option<Arc<str>>,
}

/// The incomplete chunks of one sender for one document, by their SHA-256.
pub(super) type Incomplete = HashMap<[u8; 32], Waiting>;

/// The parts of a chunk that have arrived.
#[derive(Clone, Default)]
pub(super) struct Waiting {
    pub(super) count: u32,
    pub(super) parts: BTreeMap<u32, Arc<[u8]>>,
    /// When a part last arrived, new or repeated.
    pub(super) since: i64,
}

impl Waiting {
    pub(super) fn bytes(&self) -> usize {
        self.parts.values().map(|part| part.len()).sum()
    }
}
