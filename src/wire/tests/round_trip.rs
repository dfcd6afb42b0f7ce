//! Tests that one end decodes the values that the other end encodes.

use std::collections::BTreeMap;

use convex::{ConvexError, FunctionResult, Value};
use proptest::{collection::vec, option, prelude::*};

use super::{at, called, carried};
use crate::{
    DocumentId,
    chunk::Part,
    format,
    record::{Position, PushedDocument, Refusal, RefusalCode, UserId},
    wire::{value::object, *},
};

fn position() -> impl Strategy<Value = Position> {
    (0..=i64::MAX, any::<u32>()).prop_map(|(ts, ordinal)| at(ts, ordinal))
}

fn part() -> impl Strategy<Value = Part> {
    (any::<[u8; 32]>(), any::<u32>(), 1..=u32::MAX).prop_map(|(hash, index, count)| Part {
        hash,
        index: index % count,
        count,
    })
}

/// A chunk's bytes, and which part they are.
fn chunk() -> impl Strategy<Value = (Vec<u8>, Option<Part>)> {
    (vec(any::<u8>(), 0..40), option::of(part()))
}

fn id() -> impl Strategy<Value = String> {
    vec(any::<char>(), 1..=32).prop_map(String::from_iter)
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let code = prop_oneof![Just("pruned"), Just("tooLarge"), Just("unauthenticated"), Just("ofALaterVersion")];
    (code, any::<String>()).prop_map(|(code, message)| Refusal::new(code, message))
}

/// A refusal with the codes that only the backend sends too.
fn backend_refusal() -> impl Strategy<Value = Refusal> {
    (refusal(), option::of(any::<String>()), option::of(0..1_u64 << 53)).prop_map(|(mut refusal, document, limit)| {
        (refusal.document, refusal.limit) = (document, limit);
        refusal
    })
}

/// A refusal as a client reads it.
fn as_read(refusal: &Refusal) -> Refusal {
    Refusal::new(refusal.code.as_str(), refusal.message.clone())
}

fn value() -> impl Strategy<Value = format::Value> {
    let scalar = prop_oneof![
        Just(format::Value::Null),
        any::<bool>().prop_map(format::Value::Bool),
        any::<i64>().prop_map(format::Value::Int),
        any::<u64>().prop_map(format::Value::Uint),
        any::<f64>().prop_map(format::Value::Float),
        any::<String>().prop_map(format::Value::Text),
        vec(any::<u8>(), 0..8).prop_map(format::Value::Bytes),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(format::Value::List), fields(inner).prop_map(format::Value::Map)]
    })
}

fn fields(value: impl Strategy<Value = format::Value>) -> impl Strategy<Value = BTreeMap<String, format::Value>> {
    proptest::collection::btree_map("[a-z][a-z0-9]{0,6}", value, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_arguments_of_a_pull(checkpoint in position(), pruned in option::of(any::<i64>())) {
        let pull = PullDeltas::decode(called(FunctionName::PullDeltas, pull_arguments(checkpoint, pruned)));
        prop_assert_eq!(pull.checkpoint, Some(checkpoint));
        prop_assert_eq!(pull.pruned, pruned);
        prop_assert_eq!((pull.limit, pull.scope), (None, None));
    }

    #[test]
    fn what_others_ask_of_a_pull(limit in any::<f64>(), scope in any::<String>()) {
        let mut arguments = pull_arguments(at(0, 0), None);
        arguments.insert("limit".into(), limit.into());
        arguments.insert("scope".into(), scope.as_str().into());
        let pull = PullDeltas::decode(called(FunctionName::PullDeltas, arguments));
        prop_assert_eq!(Value::from(pull.limit.expect("there is a limit")), Value::from(limit));
        prop_assert_eq!(pull.scope, Some(scope));
    }

    #[test]
    fn a_page_of_the_log(
        from in position(),
        steps in vec((any::<u8>(), 1..100_u32, id(), chunk(), option::of(any::<String>())), 0..6),
        has_more in any::<bool>(),
        pruned in option::of(any::<i64>()),
        epoch in any::<String>(),
    ) {
        let from = at(from.ts / 2, from.ordinal / 2);
        let mut checkpoint = from;
        let mut rows = Vec::new();
        for (later, step, id, (bytes, part), author) in steps {
            checkpoint = match later {
                0..128 => at(checkpoint.ts, checkpoint.ordinal + step),
                later => at(checkpoint.ts + i64::from(later), step),
            };
            let document = DocumentId::new(id.as_str());
            let author = author.map(UserId::recorded);
            rows.push(LogChunk { position: checkpoint, document, bytes: bytes.into(), part, author });
        }
        let has_more = has_more && !rows.is_empty();
        let answer = carried(LogPage { rows: rows.clone(), checkpoint, has_more, pruned }.encode(&epoch));
        let page = PageView::of(&answer).expect("it is a page");
        prop_assert_eq!((page.checkpoint, page.has_more, page.epoch), (checkpoint, has_more, &*epoch));
        prop_assert_eq!((page.pruned, page.rows()), (pruned, rows.len()));
        prop_assert_eq!(page.bytes(), rows.iter().map(|row| row.bytes.len()).sum::<usize>());
        let chunks = page.rows_after(from, from).expect("it follows");
        prop_assert_eq!(chunks.len(), rows.len());
        for (chunk, row) in chunks.into_iter().zip(rows) {
            prop_assert_eq!((chunk.id, chunk.position, &*chunk.bytes, chunk.part, chunk.author),
                (row.document, row.position, &*row.bytes, row.part, row.author));
        }
    }

    #[test]
    fn the_arguments_of_a_push(
        documents in vec((id(), vec(chunk(), 0..4), option::of(fields(value())), vec(any::<String>(), 0..3)), 0..4),
        with_fields in any::<bool>(),
        scope in option::of(any::<String>()),
    ) {
        let encoded = documents.iter().map(|(id, chunks, fields, removed)| {
            let document = PushedDocument {
                id: DocumentId::new(id.as_str()),
                changes: Vec::new(),
                fields: fields.clone(),
                removed: removed.clone(),
            };
            let chunks: Vec<_> = chunks.iter().map(|(bytes, part)| PushedChunk { bytes, part: part.clone() }).collect();
            pushed_document(&document, &chunks, with_fields)
        });
        let mut arguments = push_arguments(encoded.collect());
        // This crate's client sends none.
        arguments.extend(scope.as_deref().map(|scope| ("scope".to_owned(), scope.into())));
        let push = PushChanges::decode(called(FunctionName::PushChanges, arguments));
        prop_assert_eq!(push.scope, scope);
        prop_assert_eq!(push.documents.len(), documents.len());
        for (decoded, (id, chunks, fields, removed)) in push.documents.into_iter().zip(documents) {
            prop_assert_eq!(decoded.id, id);
            let has_fields = with_fields && fields.is_some();
            let plain = |(name, value): (String, format::Value)| (name, value.to_convex());
            let fields = fields.filter(|_| has_fields).map(|fields| Value::Object(fields.into_iter().map(plain).collect()));
            prop_assert_eq!(decoded.fields, fields);
            prop_assert_eq!(decoded.removed, if has_fields { removed } else { Vec::new() });
            prop_assert_eq!(decoded.changes.len(), chunks.len());
            for (decoded, (bytes, part)) in decoded.changes.into_iter().zip(chunks) {
                prop_assert_eq!((&*decoded.bytes, decoded.part), (&*bytes, part.map(Ok)));
            }
        }
    }

    #[test]
    fn the_answer_to_a_push(
        results in vec((id(), prop_oneof![Just(Ok(())), backend_refusal().prop_map(Err)]), 0..5),
        epoch in any::<String>(),
    ) {
        let answer = carried(push_results(&epoch, results.clone()));
        let asked: Vec<_> = results.iter().map(|(id, _)| DocumentId::new(id.as_str())).collect();
        let (named, decoded) = push_answer(&answer, asked.iter()).expect("it is an answer");
        prop_assert_eq!(named, epoch);
        let expected: Vec<_> = results.into_iter().map(|(_, result)| result.map_err(|refusal| as_read(&refusal))).collect();
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn the_refusal_of_a_call(refusal in backend_refusal()) {
        let data = carried(error_data(&refusal));
        let Value::Object(fields) = &data else { panic!("it is an object") };
        prop_assert_eq!(fields.get("document").cloned(), refusal.document.clone().map(Value::from));
        prop_assert_eq!(fields.get("limit").cloned(), refusal.limit.map(|limit| Value::Float64(limit as f64)));
        let failed = FunctionResult::ConvexError(ConvexError { message: "Uncaught ConvexError".into(), data });
        let function = Function { module: "tasks", name: FunctionName::PushChanges };
        prop_assert_eq!(outcome(&failed, function).unwrap_err(), as_read(&refusal));
    }

    #[test]
    fn the_question_how_many_documents_there_are(collection in any::<String>(), count in any::<u32>(), timestamp in any::<f64>()) {
        called(FunctionName::ChangeStream, count_arguments(&collection));
        let answer = carried(change_stream(timestamp, f64::from(count)));
        prop_assert_eq!(document_count(&answer), Some(u64::from(count)));
    }
}

#[test]
fn a_position_that_no_log_gives_out_is_decoded_as_none() {
    let checkpoint = |ts: i64, ordinal: f64| {
        let checkpoint = object([("ts", ts.into()), ("ordinal", ordinal.into())]);
        let arguments = [("checkpoint".to_owned(), checkpoint)].into();
        PullDeltas::decode(called(FunctionName::PullDeltas, arguments)).checkpoint
    };
    assert_eq!(checkpoint(0, 0.0), Some(at(0, 0)));
    assert_eq!(checkpoint(7, f64::from(u32::MAX)), Some(at(7, u32::MAX)));
    for (ts, ordinal) in [(-1, 0.0), (0, 0.5), (0, -1.0), (0, f64::NAN), (0, f64::INFINITY), (0, 4_294_967_296.0)] {
        assert_eq!(checkpoint(ts, ordinal), None, "{ts} {ordinal}");
    }
}

#[test]
fn the_log_refuses_a_part_with_invalid_numbers() {
    let part = |hash: usize, index: f64, count: f64| {
        let part = object([("hash", vec![7; hash].into()), ("index", index.into()), ("count", count.into())]);
        let chunk = object([("bytes", vec![1].into()), ("part", part)]);
        let document = object([("id", "a".into()), ("changes", Value::Array(vec![chunk]))]);
        let push = PushChanges::decode(called(FunctionName::PushChanges, push_arguments(vec![document])));
        push.documents[0].changes[0].part.clone().expect("there is a part").ok()
    };
    assert_eq!(part(32, 1.0, 3.0), Some(Part { hash: [7; 32], index: 1, count: 3 }));
    // The log refuses it with its document.
    assert_eq!(part(32, 3.0, 3.0), Some(Part { hash: [7; 32], index: 3, count: 3 }));
    for (hash, index, count) in [(31, 0.0, 1.0), (33, 0.0, 1.0), (32, 0.5, 1.0), (32, 0.0, -1.0), (32, f64::NAN, 1.0)] {
        assert_eq!(part(hash, index, count), None, "{hash} {index} {count}");
    }
}

#[test]
fn every_code_crosses_as_its_text() {
    let refusal = Refusal::new(RefusalCode::CheckpointUnknown, "from before");
    let data = error_data(&refusal);
    assert_eq!(data, object([("code", "checkpointUnknown".into()), ("message", "from before".into())]));
}
