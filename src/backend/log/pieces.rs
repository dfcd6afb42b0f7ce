//! Chunks as rows of the log. A chunk that is too large for one row is cut into parts.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{chunk::Part, limits::CHUNK_BYTES};

/// A chunk's bytes as log rows: one row, or a row for each part.
pub(super) type Pieces = Vec<(Arc<[u8]>, Option<Part>)>;

/// A chunk that is complete.
pub(super) struct Whole {
    pub bytes: Vec<u8>,
    pub pieces: Pieces,
    /// The hash that its parts announced, if the chunk came in parts.
    pub hash: Option<[u8; 32]>,
}

/// A chunk's bytes as log rows.
pub(super) fn cut(bytes: &[u8]) -> Pieces {
    if bytes.len() <= CHUNK_BYTES {
        return vec![(bytes.into(), None)];
    }
    let hash = sha256(bytes);
    let count = bytes.len().div_ceil(CHUNK_BYTES) as u32;
    let part = |index| Part { hash, index, count };
    bytes.chunks(CHUNK_BYTES).zip(0..).map(|(bytes, index)| (bytes.into(), Some(part(index)))).collect()
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
