//! Pages of a backend's log. Parts are joined, and the checkpoint never passes a chunk that lacks parts.

use std::collections::{HashMap, HashSet};

use super::event::{Checkpoint, Page, Part, Position};
use crate::{DocumentId, limits};

/// A chunk of which some parts have arrived.
#[derive(Debug)]
struct Partial {
    /// The last position before its first part: the stored checkpoint stays there until it is whole.
    before: Position,
    parts: Vec<Option<Vec<u8>>>,
    bytes: usize,
}

/// A collection's side of pulling.
#[derive(Debug, Default)]
pub(super) struct Pull {
    /// Everything up to here has been taken in, or waits in `partial`.
    position: Position,
    /// See [`Checkpoint::pruned`].
    pruned: Option<i64>,
    partial: HashMap<(DocumentId, [u8; 32]), Partial>,
}

/// A page's chunks, whole, by document in the order of their first appearance.
#[derive(Debug, Default)]
pub(super) struct PageChunks {
    pub(super) documents: Vec<(DocumentId, Vec<Vec<u8>>)>,
    /// Up to here everything is whole.
    pub(super) checkpoint: Checkpoint,
    /// Parts that do not fit: document and why.
    pub(super) damaged: Vec<(DocumentId, String)>,
}

impl Pull {
    /// The log is read from here on: parts that arrived come again.
    pub(super) fn restart(&mut self, Checkpoint { position, pruned }: Checkpoint) {
        *self = Self { position, pruned, ..Self::default() };
    }

    /// Up to here everything was taken in.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint { position: self.position, pruned: self.pruned }
    }

    /// Whether this page is the beginning of the log and nothing was read before.
    pub(super) fn begins_with(&self, page: &Page) -> bool {
        page.from == Position::default() && self.position == page.from
    }

    /// Joins a page's chunks. Returns `None` if the page does not continue the rows taken in so far. It then belongs to
    /// a subscription that has been replaced, and its checkpoint would skip rows.
    pub(super) fn assemble(&mut self, page: Page) -> Option<PageChunks> {
        if page.from > self.position {
            return None;
        }
        if self.begins_with(&page) {
            self.pruned = page.pruned;
        } else if self.pruned != page.pruned {
            // Pages disagree about pruning: rows that were read may have been pruned since, so the mark is dropped.
            self.pruned = None;
        }
        self.position = self.position.max(page.to);
        let mut result = PageChunks::default();
        let mut places: HashMap<DocumentId, usize> = HashMap::new();
        let mut before = page.from;
        for row in page.rows {
            let whole = match row.part {
                None => Ok(Some(row.bytes)),
                Some(part) => self.add_part(&row.id, part, row.bytes, before),
            };
            match whole {
                Ok(Some(bytes)) => {
                    let place = *places.entry(row.id.clone()).or_insert_with(|| {
                        result.documents.push((row.id.clone(), Vec::new()));
                        result.documents.len() - 1
                    });
                    result.documents[place].1.push(bytes);
                }
                Ok(None) => {}
                Err(why) => result.damaged.push((row.id.clone(), why)),
            }
            before = row.position;
        }
        let held_back = self.partial.values().map(|partial| partial.before).min();
        let position = held_back.map_or(page.to, |position| position.min(page.to));
        result.checkpoint = Checkpoint { position, pruned: self.pruned };
        Some(result)
    }

    fn add_part(
        &mut self,
        id: &DocumentId,
        part: Part,
        bytes: Vec<u8>,
        before: Position,
    ) -> Result<Option<Vec<u8>>, String> {
        let most = limits::CHANGE_BYTES.div_ceil(limits::CHUNK_BYTES) as u32;
        if part.count == 0 || part.count > most || part.index >= part.count {
            return Err(format!("part {} of {} is invalid (a chunk has at most {most} parts)", part.index, part.count));
        }
        let key = (id.clone(), part.hash);
        // A log has the parts of a change one after the other, so rarely more than one chunk waits. The bound keeps a
        // server that sends only first parts from filling the memory.
        let waiting: usize = self.partial.values().map(|partial| partial.bytes).sum();
        let is_new = !self.partial.contains_key(&key);
        if waiting + bytes.len() > limits::PARTIAL_BYTES || (is_new && self.partial.len() >= limits::PARTIAL_CHUNKS) {
            self.partial.clear();
            return Err("too many changes wait for missing parts: all of them are dropped".into());
        }
        let partial = self.partial.entry(key.clone()).or_insert_with(|| Partial {
            before,
            parts: vec![None; part.count as usize],
            bytes: 0,
        });
        let Some(slot) = partial.parts.get_mut(part.index as usize) else {
            return Err(format!("part {} does not fit the others", part.index));
        };
        if slot.is_none() {
            partial.bytes += bytes.len();
            *slot = Some(bytes);
        }
        if partial.bytes > limits::CHANGE_BYTES {
            self.partial.remove(&key);
            return Err(format!("it is larger than {} bytes", limits::CHANGE_BYTES));
        }
        if partial.parts.iter().any(Option::is_none) {
            return Ok(None);
        }
        let whole: Vec<u8> = self.partial.remove(&key).into_iter().flat_map(|p| p.parts).flatten().flatten().collect();
        if super::chunk_hash(&whole).0 != part.hash {
            return Err("its parts do not have the hash of the chunk they name".into());
        }
        Ok(Some(whole))
    }
}

/// Changes that this run has sent and that have not come back in the log yet. They are skipped when they come, without
/// loading the document.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    hashes: HashSet<automerge::ChangeHash>,
}

/// With more echoes than this all are forgotten. A change that comes back is then found by loading its document.
const ECHOES: usize = 100_000;

impl Echoes {
    pub(super) fn expect(&mut self, hash: automerge::ChangeHash) {
        if self.hashes.len() >= ECHOES {
            self.hashes.clear();
        }
        self.hashes.insert(hash);
    }

    /// The hash of `chunk`, if it is an expected echo.
    pub(super) fn take(&mut self, chunk: &[u8]) -> Option<automerge::ChangeHash> {
        if self.hashes.is_empty() {
            return None;
        }
        super::change_hash(chunk).filter(|hash| self.hashes.remove(hash))
    }

    pub(super) fn clear(&mut self) {
        self.hashes.clear();
    }
}
