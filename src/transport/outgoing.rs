use std::{collections::BTreeMap, ops::Range};

use convex::{FunctionResult, Value};
use sha2::{Digest, Sha256};

use super::{
    Notice,
    wire::{self, Function, FunctionName, PushedChunk},
};
use crate::{
    chunk::Part,
    limits::{CHANGE_BYTES, CHUNK_BYTES, PUSH_BYTES, PUSH_CHANGES, PUSH_DOCUMENTS, or_tiny},
    record::{FromBackend, Push, PushAnswer, Refusal, RefusalCode},
};

/// A push on its way: its mutations, and the results of its documents.
///
/// A push is usually one mutation. If it is too large for one, several mutations follow one another, so that a
/// document's changes arrive in order, and nothing follows a part that was refused.
pub(super) struct Outgoing {
    push: Push,
    collection: String,
    mutations: Vec<Vec<Entry>>,
    sent: usize,
    /// The documents of the mutation in flight.
    in_flight: Vec<usize>,
    results: Vec<Result<(), Refusal>>,
    epoch: Option<String>,
    /// The first refusal of a whole mutation.
    refusal: Option<Refusal>,
}

/// The part of a document that a mutation carries.
struct Entry {
    document: usize,
    slices: Vec<Slice>,
    /// Whether the mutation has all of the document's changes as whole changes. Only then it also has the fields.
    is_whole: bool,
}

/// A change, or a part of one.
struct Slice {
    change: usize,
    range: Range<usize>,
    part: Option<Part>,
}

/// The next action of a push.
pub(super) enum Next {
    /// Call `pushChanges` with these arguments.
    Send(BTreeMap<String, Value>),
    /// The push is finished.
    Done(Notice),
}

/// The effect of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Go on with [`Outgoing::next`].
    GoOn,
    /// The function requires another token. Nothing of this mutation is stored.
    Unauthenticated(Refusal),
    /// Another log replaced the log between two mutations, and the changes that were accepted before are gone.
    EpochChanged,
}

impl Outgoing {
    pub(super) fn new(push: Push, collection: &str) -> Self {
        let mut results = vec![Ok(()); push.documents.len()];
        let mut mutations = Packing::default();
        for (index, document) in push.documents.iter().enumerate() {
            match document.changes.iter().map(|(_, bytes)| bytes.len()).find(|bytes| *bytes > CHANGE_BYTES) {
                Some(bytes) => results[index] = Err(too_large(bytes)),
                None => mutations.add(index, document.changes.iter().map(|(_, bytes)| &**bytes)),
            }
        }
        Self {
            collection: collection.to_owned(),
            mutations: mutations.finish(),
            sent: 0,
            in_flight: Vec::new(),
            results,
            epoch: None,
            refusal: None,
            push,
        }
    }

    /// The function to call.
    pub(super) fn function(&self) -> Function<'_> {
        Function { module: &self.collection, name: FunctionName::PushChanges }
    }

    /// The notice for a connection that ended before the push was finished.
    pub(super) fn dropped(&self) -> Notice {
        Notice::Backend(FromBackend::PushDropped { number: self.push.number, collection: self.push.collection })
    }

    /// The next mutation, or the end.
    pub(super) fn next(&mut self) -> Next {
        while let Some(entries) = self.mutations.get(self.sent) {
            self.sent += 1;
            // If a part was refused, the next parts would be refused as well.
            let entries: Vec<_> = entries.iter().filter(|entry| self.results[entry.document].is_ok()).collect();
            // Even an empty push learns the epoch. A later mutation without entries has no purpose.
            if entries.is_empty() && self.sent > 1 {
                continue;
            }
            self.in_flight = entries.iter().map(|entry| entry.document).collect();
            let documents = entries
                .into_iter()
                .map(|entry| {
                    let document = &self.push.documents[entry.document];
                    let chunks: Vec<_> = entry
                        .slices
                        .iter()
                        .map(|slice| PushedChunk {
                            bytes: &document.changes[slice.change].1[slice.range.clone()],
                            part: slice.part.clone(),
                        })
                        .collect();
                    wire::pushed_document(document, &chunks, entry.is_whole)
                })
                .collect();
            return Next::Send(wire::push_arguments(documents));
        }
        let Push { number, collection, .. } = self.push;
        Next::Done(match (self.epoch.take(), self.refusal.take()) {
            (Some(epoch), _) => Notice::Backend(FromBackend::Answered(PushAnswer {
                number,
                collection,
                epoch,
                results: self
                    .push
                    .documents
                    .iter()
                    .map(|document| document.id.clone())
                    .zip(std::mem::take(&mut self.results))
                    .collect(),
            })),
            (None, refusal) => Notice::Backend(FromBackend::PushRefused {
                number,
                collection,
                refusal: refusal.unwrap_or_else(|| wire::bad_answer("no answer to a push")),
            }),
        })
    }

    /// Handles the answer of the mutation in flight.
    pub(super) fn answered(&mut self, result: &FunctionResult) -> Heard {
        let documents = std::mem::take(&mut self.in_flight);
        let answer = wire::outcome(result, self.function()).and_then(|value| {
            let asked = documents.iter().map(|document| &self.push.documents[*document].id);
            wire::push_answer(value, asked)
        });
        match answer {
            Ok((epoch, _)) if self.epoch.as_ref().is_some_and(|known| !known.is_empty() && *known != epoch) => {
                Heard::EpochChanged
            }
            Ok((epoch, results)) => {
                self.epoch = Some(epoch);
                for (document, result) in documents.into_iter().zip(results) {
                    self.results[document] = result;
                }
                Heard::GoOn
            }
            Err(refusal) if refusal.code == RefusalCode::Unauthenticated => Heard::Unauthenticated(refusal),
            Err(refusal) => {
                self.refuse(&documents, refusal);
                Heard::GoOn
            }
        }
    }

    /// Ends the push, because a mutation could not be called, or not with this token.
    pub(super) fn give_up(&mut self, refusal: Refusal) {
        self.sent = self.mutations.len();
        let all: Vec<_> = (0..self.results.len()).filter(|document| self.results[*document].is_ok()).collect();
        self.refuse(&all, refusal);
        self.epoch = None;
    }

    fn refuse(&mut self, documents: &[usize], refusal: Refusal) {
        for document in documents {
            self.results[*document] = Err(refusal.clone());
        }
        self.refusal.get_or_insert(refusal);
    }
}

fn too_large(bytes: usize) -> Refusal {
    Refusal::new(
        RefusalCode::TooLarge,
        format!("one change has {bytes} bytes, and the limit is {CHANGE_BYTES}: make a large edit in several steps"),
    )
}

/// Fills one mutation after the other.
#[derive(Default)]
struct Packing {
    full: Vec<Vec<Entry>>,
    entries: Vec<Entry>,
    bytes: usize,
    changes: usize,
}

impl Packing {
    /// Adds a document's changes. They stay together in one mutation if one can hold them.
    fn add<'a>(&mut self, document: usize, changes: impl Iterator<Item = &'a [u8]>) {
        let slices: Vec<_> = changes.enumerate().flat_map(|(change, bytes)| slices(change, bytes)).collect();
        let bytes = slices.iter().map(|slice| slice.range.len()).sum();
        if !self.has_room(bytes, slices.len()) {
            self.close();
        }
        let is_whole = bytes <= or_tiny(PUSH_BYTES, 1_000)
            && slices.len() <= or_tiny(PUSH_CHANGES, 4)
            && slices.iter().all(|slice| slice.part.is_none());
        self.begin(document, is_whole);
        for slice in slices {
            if !self.has_room(slice.range.len(), 1) {
                self.close();
                self.begin(document, false);
            }
            self.bytes += slice.range.len();
            self.changes += 1;
            if let Some(entry) = self.entries.last_mut() {
                entry.slices.push(slice);
            }
        }
    }

    fn begin(&mut self, document: usize, is_whole: bool) {
        if self.entries.len() >= or_tiny(PUSH_DOCUMENTS, 2) {
            self.close();
        }
        self.entries.push(Entry { document, slices: Vec::new(), is_whole });
    }

    fn has_room(&self, bytes: usize, changes: usize) -> bool {
        self.bytes + bytes <= or_tiny(PUSH_BYTES, 1_000) && self.changes + changes <= or_tiny(PUSH_CHANGES, 4)
    }

    fn close(&mut self) {
        if !self.entries.is_empty() {
            self.full.push(std::mem::take(&mut self.entries));
        }
        self.bytes = 0;
        self.changes = 0;
    }

    /// Returns at least one mutation, because an empty mutation asks for the epoch.
    fn finish(mut self) -> Vec<Vec<Entry>> {
        if !self.entries.is_empty() || self.full.is_empty() {
            self.full.push(self.entries);
        }
        self.full
    }
}

fn slices(change: usize, bytes: &[u8]) -> Vec<Slice> {
    let chunk_bytes = or_tiny(CHUNK_BYTES, 300);
    let whole = 0..bytes.len();
    if bytes.len() <= chunk_bytes {
        return vec![Slice { change, range: whole, part: None }];
    }
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    // There are at most CHANGE_BYTES / CHUNK_BYTES parts.
    let count = bytes.len().div_ceil(chunk_bytes) as u32;
    (0..count)
        .map(|index| {
            let start = index as usize * chunk_bytes;
            Slice {
                change,
                range: start..(start + chunk_bytes).min(bytes.len()),
                part: Some(Part { hash, index, count }),
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
