//! The functions of convex-replicate 0.2. Its clients are the other end, so these tests have their calls and the
//! answers they read.

use convex::Value;
use proptest::{collection::vec, option, prelude::*};
use serde_json::json;

use super::{called, carried};
use crate::{DocumentId, wire::*};

/// The arguments of a call as the original client writes them.
fn arguments<const N: usize>(arguments: [(&str, Value); N]) -> std::collections::BTreeMap<String, Value> {
    arguments.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    match value {
        Value::Object(fields) => &fields[name],
        other => panic!("{other:?} has no {name}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_document_that_is_put(id in any::<String>(), bytes in vec(any::<u8>(), 0..40), version in any::<f64>()) {
        let sent = || arguments([
            ("collectionName", "tasks".into()),
            ("documentId", id.as_str().into()),
            ("crdtBytes", bytes.clone().into()),
            ("materializedDoc", Value::Null),
            ("version", version.into()),
        ]);
        for function in [FunctionName::InsertDocument, FunctionName::UpdateDocument] {
            let put = PutDocument::decode(called(function, sent()));
            prop_assert_eq!((&put.id, &put.bytes), (&id, &bytes));
        }
    }

    #[test]
    fn a_document_that_is_deleted(id in any::<String>()) {
        let sent = arguments([("collectionName", "tasks".into()), ("documentId", id.as_str().into())]);
        prop_assert_eq!(document_to_delete(called(FunctionName::DeleteDocument, sent)), id);
    }

    #[test]
    fn the_arguments_of_a_pull(checkpoint in any::<f64>(), limit in option::of(any::<f64>())) {
        let checkpoint_ = Value::Object(arguments([("lastModified", checkpoint.into())]));
        let mut sent = arguments([("collectionName", "tasks".into()), ("checkpoint", checkpoint_)]);
        sent.extend(limit.map(|limit| ("limit".to_owned(), limit.into())));
        let pull = PullChanges::decode(called(FunctionName::PullChanges, sent));
        prop_assert_eq!(Value::from(pull.checkpoint), Value::from(checkpoint));
        prop_assert_eq!(pull.limit.map(Value::from), limit.map(Value::from));
    }

    #[test]
    fn a_page_of_whole_documents(
        documents in vec((any::<String>(), vec(any::<u8>(), 0..40), 0..1_usize << 40, any::<u32>()), 0..5),
        checkpoint in any::<f64>(),
        has_more in any::<bool>(),
    ) {
        let whole = |(id, bytes, version, timestamp): (String, Vec<u8>, usize, u32)| {
            WholeDocument { id: DocumentId::new(id), bytes, version, timestamp: f64::from(timestamp) }
        };
        let page = DocumentPage { documents: documents.iter().cloned().map(whole).collect(), checkpoint, has_more };
        let answer = carried(page.encode());
        prop_assert_eq!(field(&answer, "hasMore"), &Value::from(has_more));
        prop_assert_eq!(field(field(&answer, "checkpoint"), "lastModified"), &Value::from(checkpoint));
        let Value::Array(changes) = field(&answer, "changes") else { panic!("changes are a list") };
        prop_assert_eq!(changes.len(), documents.len());
        for (change, (id, bytes, version, timestamp)) in changes.iter().zip(documents) {
            prop_assert_eq!(field(change, "documentId"), &Value::from(id));
            prop_assert_eq!(field(change, "crdtBytes"), &Value::from(bytes));
            prop_assert_eq!(field(change, "version"), &Value::from(version as f64));
            prop_assert_eq!(field(change, "timestamp"), &Value::from(f64::from(timestamp)));
        }
    }
}

#[test]
fn a_mutation_answers_that_it_succeeded() {
    assert_eq!(serde_json::Value::from(success()), json!({ "success": true }));
}

#[test]
fn the_stream_answers_two_numbers() {
    assert_eq!(serde_json::Value::from(change_stream(5.0, 3.0)), json!({ "timestamp": 5.0, "count": 3.0 }));
}
