//! Automerge's bytes: chunks as they travel and are stored, their hashes, and how a chunk of a stranger is taken
//! without harm.
//!
//! A chunk is a change or a snapshot. [`inspect`] reads a chunk without trusting it. [`sound`] adds changes to a
//! document and checks that the document stays whole. Both the client and the backend use them, each for the chunks of
//! the other.
//!
//! The format: <https://automerge.org/automerge-binary-format-spec/>.

pub(crate) mod inspect;
pub(crate) mod sound;

use automerge::ChangeHash;
use sha2::{Digest, Sha256};

/// Names a part of a chunk that is too large to travel whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// SHA-256 of the whole chunk.
    pub hash: [u8; 32],
    /// From 0 to `count` - 1.
    pub index: u32,
    /// The number of parts.
    pub count: u32,
}
/// SHA-256 of a chunk's bytes: the name of the whole in each of its parts, and of a snapshot in the store.
pub(crate) fn chunk_hash(bytes: &[u8]) -> ChangeHash {
    ChangeHash(Sha256::digest(bytes).into())
}

/// The hash of an uncompressed change: SHA-256 of the chunk after its magic bytes and checksum. `None` if `chunk` is
/// too short to be one.
pub(crate) fn change_hash(chunk: &[u8]) -> Option<ChangeHash> {
    chunk.get(8..).map(chunk_hash)
}
