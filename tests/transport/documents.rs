//! Documents to push, and functions that check pages.

use std::collections::{BTreeMap, VecDeque};

use automerge::{ActorId, AutoCommit, ROOT, ScalarValue, transaction::Transactable};
use bevy_convex_replicate::{
    CollectionIndex, DocumentId,
    format::Value,
    replica::{FromBackend, Page, Position, PulledChunk, Push, PushAnswer, PushNumber, PushedDocument, ToBackend},
    transport::{Notice, Request},
};

use crate::rig::Rig;

pub const TASKS: CollectionIndex = CollectionIndex(0);

/// A new document with this text.
pub fn document(id: &str, text: &str) -> PushedDocument {
    with_value(id, Value::Scalar(text.into()), text.into())
}

/// A new document whose only change has more than this many bytes. The text is overwritten within the change, because a
/// row may not be that large.
pub fn large_document(id: &str, bytes: usize) -> PushedDocument {
    let bytes: Vec<u8> = (0..bytes as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let mut document = with_value(id, Value::Null, ScalarValue::Bytes(bytes));
    document.fields = None;
    document
}

fn with_value(id: &str, field: Value, value: ScalarValue) -> PushedDocument {
    let mut document = AutoCommit::new().with_actor(ActorId::random());
    document.put(ROOT, "id", id).unwrap();
    document.put(ROOT, "text", value).unwrap();
    if field == Value::Null {
        document.put(ROOT, "text", ()).unwrap();
    }
    let changes = document.get_changes(&[]);
    let fields: BTreeMap<_, _> = [("id".to_owned(), Value::Scalar(id.into())), ("text".to_owned(), field)].into();
    PushedDocument {
        id: DocumentId::new(id),
        changes: changes.into_iter().map(|change| (change.hash(), change.raw_bytes().into())).collect(),
        fields: Some(fields),
        removed: Vec::new(),
    }
}

/// The bytes of the document's only change.
pub fn bytes(document: &PushedDocument) -> &[u8] {
    assert_eq!(document.changes.len(), 1);
    &document.changes[0].1
}

impl Rig {
    pub fn subscribe(&self, checkpoint: Position) {
        self.transport
            .request(Request::Backend(ToBackend::Subscribe { collection: TASKS, checkpoint: checkpoint.into() }));
    }

    pub fn request_push(&self, documents: &[PushedDocument]) {
        self.transport.request(Request::Backend(ToBackend::Push(Push {
            number: PushNumber::default(),
            collection: TASKS,
            documents: documents.to_vec(),
        })));
    }

    /// Pushes documents and waits until all are accepted.
    pub async fn push(&mut self, documents: &[PushedDocument]) -> PushAnswer {
        self.request_push(documents);
        self.accepted(documents).await
    }

    /// Waits until a push is accepted.
    pub async fn accepted(&mut self, documents: &[PushedDocument]) -> PushAnswer {
        let mut pages = VecDeque::new();
        let answer = self
            .until("an answer", |notice| match notice {
                Notice::Backend(FromBackend::Answered(answer)) => Some(answer),
                Notice::Backend(FromBackend::PushRefused { .. }) | Notice::Backend(FromBackend::PushDropped { .. }) => {
                    panic!("{notice:?}")
                }
                Notice::Backend(FromBackend::Page(page)) => {
                    pages.push_back(page);
                    None
                }
                _ => None,
            })
            .await;
        self.pages.extend(pages);
        let expected: Vec<_> = documents.iter().map(|document| (document.id.clone(), Ok(()))).collect();
        assert_eq!(answer.results, expected);
        answer
    }

    pub async fn page(&mut self) -> Page {
        if let Some(page) = self.pages.pop_front() {
            return page;
        }
        self.until("a page", |notice| match notice {
            Notice::Backend(FromBackend::Page(page)) => Some(page),
            Notice::Backend(FromBackend::PullRefused { .. }) => panic!("{notice:?}"),
            _ => None,
        })
        .await
    }

    pub async fn connected(&mut self) {
        self.until("a connection", |notice| matches!(notice, Notice::Connected).then_some(())).await;
    }

    /// Reads pages until there are this many rows, and checks that each page continues where the last one ended.
    pub async fn rows(&mut self, from: Position, count: usize) -> (Vec<PulledChunk>, Position) {
        let (mut rows, mut at) = (Vec::new(), from);
        while rows.len() < count {
            let page = self.page().await;
            assert_eq!(page.from, at);
            at = page.to;
            rows.extend(page.rows);
        }
        assert_eq!(rows.len(), count);
        assert!(rows.is_sorted_by(|one, other| one.position < other.position));
        (rows, at)
    }
}

/// The names of the documents.
pub fn ids(rows: &[PulledChunk]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}
