//! The world's side: edits come in, versions go out.

use std::collections::{BTreeSet, VecDeque};

use super::{
    Delta, Document, Edit, EditKind, EditNumber, EditSeq, Effect, Generation, Kept, Live, Origin, Put, QueuedChange,
    Replica, State, StoreRequest, StoredDocument, Waiting, opened::Edited,
};
use crate::{
    CollectionIndex, DocumentKey,
    chunk::inspect,
    failure::FailureKind,
    format::{FormatError, Value},
    record::{DocumentWrite, StoredChunk, Write},
};

impl Replica {
    pub(super) fn opened(&mut self, index: CollectionIndex, documents: Vec<StoredDocument>) {
        let Some(collection) = self.collections.get_mut(index.0 as usize) else { return };
        for stored in documents {
            let document = collection.documents.entry(stored.id.clone()).or_default();
            document.generation = 1;
            // Without heads there are only changes whose dependencies were lost and have not come back.
            let is_whole = stored.value.as_map().is_some();
            if stored.value.is_deleted() || stored.heads.is_empty() || !is_whole {
                continue;
            }
            self.effects.push_back(Effect::Deliver(Delta {
                document: DocumentKey { collection: index, id: stored.id },
                generation: 1,
                seen: 0,
                value: Some(stored.value),
                origin: Origin::Stored,
            }));
        }
    }

    pub(super) fn edit(&mut self, number: EditNumber, edit: Edit, now: i64) {
        if self.is_of_a_discarded_document(&edit) {
            self.effects.push_back(Effect::Edited(number, 0));
            self.effects.push_back(Effect::nothing_of(&edit.document, edit.seq));
            return self.saw(&edit.document, edit.seq);
        }
        let Some(collection) = self.collections.get_mut(edit.document.collection.0 as usize) else { return };
        if !collection.documents.contains_key(&edit.document.id) && matches!(edit.kind, EditKind::Put { .. }) {
            let live = State::Live(Box::new(Live::new(&self.actor)));
            // The world may have been given versions of a document of this name that was pruned since.
            let document = Document { generation: edit.generation, state: live, ..Document::default() };
            collection.documents.insert(edit.document.id.clone(), document);
            self.live.count += 1;
        }
        let key = edit.document.clone();
        match collection.documents.get_mut(&key.id).map(|document| &mut document.state) {
            None => {
                // A delete or a restore of a document that never existed.
                self.effects.push_back(Effect::Edited(number, 0));
                self.saw(&key, edit.seq);
            }
            Some(State::Cold) => {
                self.load(&key, Some(Waiting::Edit(number, edit)));
            }
            Some(State::Loading(waiting)) => waiting.push(Waiting::Edit(number, edit)),
            Some(State::Live(_)) => self.edit_live(number, edit, now),
        }
    }

    /// Versions that the world is given from now on count as including this edit.
    pub(super) fn saw(&mut self, key: &DocumentKey, seq: EditSeq) {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        let seen = match collection.documents.get_mut(&key.id) {
            Some(document) => &mut document.seen,
            None => collection.seen.entry(key.id.clone()).or_default(),
        };
        *seen = seq.max(*seen);
    }

    fn edit_live(&mut self, number: EditNumber, edit: Edit, now: i64) {
        let key = edit.document;
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        let schema = collection.schema.clone();
        let Some(document) = collection.documents.get_mut(&key.id) else { return };
        let State::Live(live) = &mut document.state else { return };
        self.live.touch(&key, live, &mut self.clock);
        document.seen = document.seen.max(edit.seq);

        let mut origin = Origin::Remote;
        let mut answer = document.generation > edit.generation;
        let exists = live.is_whole();
        let mut wins = true;
        match &edit.kind {
            // The app made a document of a name that exists already. The existing document wins, unless it is deleted.
            EditKind::Put { value: (value, mask), put }
                if exists && (*put != Put::Edited || !live.has_base(edit.generation)) =>
            {
                wins = live.value().is_deleted() && *put != Put::Ensured;
                match wins {
                    true => live.delivered(edit.generation),
                    false => live.put_unseen(edit.generation, *mask, value),
                }
                answer = true;
            }
            EditKind::Restore => {
                origin = Origin::Local;
                answer = true;
            }
            _ => {}
        }

        let result = inspect::guarded("edit", || -> Result<_, FormatError> {
            if !wins {
                return Ok((None, Edited::default()));
            }
            let mut edited = live.edit(&key.id, edit.generation, &edit.kind, &*schema, now / 1_000)?;
            let made = std::mem::take(&mut edited.made);
            let made = (!made.is_empty()).then(|| (made, live.heads(), live.cached()));
            Ok((made, edited))
        });
        let (made, Edited { problems, is_repaired, .. }) = match result {
            Ok(Ok(edited)) => edited,
            Err(error) => {
                let edited = live.last_write;
                self.effects.push_back(Effect::Edited(number, edited));
                self.effects.push_back(Effect::nothing_of(&key, edit.seq));
                let message = format!("the edit was not taken in: {error}");
                self.fail(FailureKind::Unwritable, Some(key.collection), Some(key.id.clone()), message);
                self.reload(&key);
                return;
            }
            Ok(Err(error)) if live.is_spoiled => {
                let edited = live.last_write;
                self.effects.push_back(Effect::Edited(number, edited));
                self.effects.push_back(Effect::nothing_of(&key, edit.seq));
                self.refuse_edit(&key, &error);
                self.reload(&key);
                return;
            }
            Ok(Err(error)) => (None, Edited { problems: vec![error], ..Edited::default() }),
        };
        // The entity can show the document's value again, which may differ from the edit's in other parts.
        answer |= is_repaired;
        for problem in problems {
            self.effects.push_back(Effect::Failed {
                kind: FailureKind::Unwritable,
                collection: Some(key.collection),
                document: Some(key.id.clone()),
                message: format!("the edit was not taken in: {problem}"),
            });
        }
        let mut edited = live.last_write;
        let mut compared = Effect::nothing_of(&key, edit.seq);
        if let Some((chunks, heads, value)) = made {
            self.last_write += 1;
            live.last_write = self.last_write;
            edited = self.last_write;
            if self.remote.has_deployment() {
                for StoredChunk { hash, bytes, fields, .. } in &chunks {
                    let (hash, bytes, fields) = (*hash, bytes.clone(), Some(fields_of(&value, fields)));
                    collection.outbox.add(&key.id, QueuedChange { hash, snapshots: Vec::new(), bytes, fields });
                }
            }
            let fields: BTreeSet<String> = chunks.iter().flat_map(|chunk| chunk.fields.iter().cloned()).collect();
            let fields = fields.into_iter().collect();
            compared = Effect::Compared { document: key.clone(), seq: edit.seq, fields };
            let write = DocumentWrite { collection: collection.name.clone(), id: key.id.clone(), chunks, heads, value };
            self.effects.push_back(Effect::Store(StoreRequest::Write(edited, Write::Document(write))));
        }
        self.effects.push_back(Effect::Edited(number, edited));
        self.effects.push_back(compared);
        if answer {
            deliver(&mut self.effects, &key, document, origin);
        }
    }

    fn refuse_edit(&mut self, key: &DocumentKey, error: &FormatError) {
        let message = format!("the edit was not taken in: {error}");
        self.fail(FailureKind::Unwritable, Some(key.collection), Some(key.id.clone()), message);
    }

    pub(super) fn applied(&mut self, shown: Vec<(DocumentKey, Generation)>) {
        for (key, generation) in shown {
            if let Some(State::Live(live)) = self.document(&key).map(|document| &mut document.state) {
                live.forget_bases_before(generation);
            }
        }
    }

    pub(super) fn kept(&mut self, kept: Kept) {
        let key = kept.document;
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        let schema = &*collection.schema;
        if let Some(Document { state: State::Live(live), .. }) = collection.documents.get_mut(&key.id) {
            live.kept(kept.generation, kept.from, kept.components, schema);
        }
    }

    pub(super) fn show(&mut self, key: DocumentKey) {
        let Some(document) = self.document(&key) else { return };
        match &mut document.state {
            State::Cold => self.load(&key, Some(Waiting::Show)),
            State::Loading(waiting) => waiting.push(Waiting::Show),
            State::Live(_) => self.show_live(&key),
        }
    }

    pub(super) fn show_live(&mut self, key: &DocumentKey) {
        let Some(collection) = self.collections.get_mut(key.collection.0 as usize) else { return };
        let Some(document) = collection.documents.get_mut(&key.id) else { return };
        deliver(&mut self.effects, key, document, Origin::Stored);
    }
}

/// Gives the world the current version of a loaded document.
pub(super) fn deliver(effects: &mut VecDeque<Effect>, key: &DocumentKey, document: &mut Document, origin: Origin) {
    let State::Live(live) = &mut document.state else { return };
    if !live.is_whole() {
        return;
    }
    document.generation += 1;
    live.delivered(document.generation);
    let value = live.value();
    effects.push_back(Effect::Deliver(Delta {
        document: key.clone(),
        generation: document.generation,
        seen: document.seen,
        value: (!value.is_deleted()).then_some(value),
        origin,
    }));
}

/// The values that these root fields have, `None` where they are gone.
fn fields_of(value: &Value, names: &[String]) -> Vec<(String, Option<Value>)> {
    names.iter().map(|name| (name.clone(), value.get(name).cloned())).collect()
}
