//! The chunks of a push. Parts wait until the other parts are there, and are then put together.

use std::sync::Arc;

use super::{
    commit::Commit,
    pieces::{Whole, cut, sha256},
    record::Record,
    state::Log,
    waiting::{Incomplete, Sender, Waiting},
};
use crate::{
    DocumentId,
    backend::limits::WAITING_BYTES,
    chunk::Part,
    limits::{CHANGE_BYTES, CHUNK_BYTES},
    record::Refusal,
    wire::Chunk,
};

/// The chunks of a push, put together as far as possible.
#[derive(Default)]
pub(super) struct Received {
    pub whole: Vec<Whole>,
    /// The sender of the push.
    sender: Sender,
    /// The sender's incomplete chunks, with the parts that waited already.
    waiting: Incomplete,
    /// Parts that must wait from now on.
    new: Vec<(Part, Arc<[u8]>)>,
    /// Chunks that no longer wait.
    done: Vec<[u8; 32]>,
    /// Whether a part arrived that had been waiting already.
    again: bool,
    now: i64,
}

impl Log {
    /// Puts the parts of one sender together. This does not change the log yet.
    pub(super) fn receive(
        &self,
        collection: &str,
        id: &DocumentId,
        sender: Sender,
        chunks: Vec<Chunk>,
        now: i64,
    ) -> Result<Received, Refusal> {
        let known = self.collections.get(collection);
        let whole = known.and_then(|known| known.documents.get(id)).map(|document| &document.whole);
        let mut received = Received {
            waiting: known.and_then(|known| known.waiting(id, &sender)).cloned().unwrap_or_default(),
            sender,
            now,
            ..Received::default()
        };
        for chunk in chunks {
            if chunk.bytes.len() > CHUNK_BYTES {
                return Err(Refusal::too_large(
                    format!("a chunk in one piece has {} bytes; send it in parts", chunk.bytes.len()),
                    CHUNK_BYTES,
                ));
            }
            let Some(part) = chunk.part else {
                let bytes = chunk.bytes.to_vec();
                received.whole.push(Whole { bytes, pieces: vec![(chunk.bytes, None)], hash: None });
                continue;
            };
            let part =
                part.ok().filter(|part| part.index < part.count).ok_or_else(|| misfit("its numbers make no sense"))?;
            if part.count as usize > CHANGE_BYTES / CHUNK_BYTES {
                return Err(Refusal::too_large(format!("a change in {} parts", part.count), CHANGE_BYTES));
            }
            if !whole.is_some_and(|whole| whole.contains(&part.hash)) {
                received.add(part, chunk.bytes)?;
            }
        }
        if received.waiting.values().map(Waiting::bytes).sum::<usize>() > WAITING_BYTES {
            return Err(Refusal::too_large("too many bytes wait for their missing parts", WAITING_BYTES));
        }
        Ok(received)
    }
}

impl Received {
    fn add(&mut self, part: Part, bytes: Arc<[u8]>) -> Result<(), Refusal> {
        let waiting =
            self.waiting.entry(part.hash).or_insert_with(|| Waiting { count: part.count, ..Waiting::default() });
        if waiting.count != part.count {
            return Err(misfit("the others are of another count"));
        }
        waiting.since = self.now;
        match waiting.parts.get(&part.index) {
            Some(known) if *known == bytes => {
                self.again = true;
                return Ok(());
            }
            Some(_) => return Err(misfit("it came before, with other bytes")),
            None => waiting.parts.insert(part.index, bytes.clone()),
        };
        if waiting.parts.len() < waiting.count as usize {
            self.new.push((part, bytes));
            return Ok(());
        }
        let hash = part.hash;
        let parts = self.waiting.remove(&hash).map(|waiting| waiting.parts).unwrap_or_default();
        let whole = parts.values().flat_map(|part| part.iter().copied()).collect::<Vec<_>>();
        if sha256(&whole) != hash {
            return Err(misfit("together they are not the chunk they were announced as"));
        }
        // The pieces do not depend on how the writer cut the chunk.
        let pieces = cut(&whole);
        self.whole.push(Whole { bytes: whole, pieces, hash: Some(hash) });
        self.new.retain(|(part, _)| part.hash != hash);
        self.done.push(hash);
        Ok(())
    }

    /// Whether parts would have to wait for others.
    pub fn is_waiting(&self) -> bool {
        !self.new.is_empty() || self.again
    }

    /// Keeps the parts that wait for others until the next push.
    pub fn keep(self, log: &mut Log, collection: &Arc<str>, document: DocumentId, commit: &mut Commit) {
        if self.new.is_empty() && self.done.is_empty() && !self.again {
            return;
        }
        for hash in self.done {
            commit.records.push(Record::PartsGone {
                collection: collection.clone(),
                document: document.clone(),
                sender: self.sender.clone(),
                hash,
            });
        }
        for (part, bytes) in self.new {
            commit.records.push(Record::Part {
                collection: collection.clone(),
                document: document.clone(),
                sender: self.sender.clone(),
                part,
                bytes,
                ts: self.now,
            });
        }
        let known = log.collections.entry(collection.clone()).or_default();
        known.keep_waiting(&document, self.sender, self.waiting);
    }
}

fn misfit(reason: &str) -> Refusal {
    Refusal::invalid_change(format!("a part does not fit the others: {reason}"))
}
