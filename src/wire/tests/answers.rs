//! Tests of a client that decodes answers, including answers that no backend should give.

use convex::{ConvexError, FunctionResult, Value};

use super::at;
use crate::{
    DocumentId,
    chunk::Part,
    limits::CHUNK_BYTES,
    record::{Position, PulledChunk, PushedDocument, Refusal, RefusalCode},
    wire::{Function, FunctionName, PageView, document_count, outcome, push_answer, pushed_document, value::object},
};

const PULL: Function<'static> = Function { module: "tasks", name: FunctionName::PullDeltas };

fn position(position: Position) -> Value {
    object([("ts", Value::Int64(position.ts)), ("ordinal", Value::Float64(f64::from(position.ordinal)))])
}

fn row(place: Position, id: &str, bytes: &[u8]) -> Value {
    let Value::Object(mut row) = position(place) else { unreachable!() };
    row.insert("id".into(), id.into());
    row.insert("bytes".into(), Value::Bytes(bytes.to_vec()));
    Value::Object(row)
}

fn page(rows: Vec<Value>, checkpoint: Position, has_more: bool) -> Value {
    object([
        ("deltas", Value::Array(rows)),
        ("checkpoint", position(checkpoint)),
        ("hasMore", has_more.into()),
        ("epoch", "e1".into()),
    ])
}

/// The same value with something else at a path of keys and indices.
fn with(value: &Value, path: &[&str], new: Option<Value>) -> Value {
    let mut value = value.clone();
    let (last, way) = path.split_last().unwrap();
    let mut place = &mut value;
    for step in way {
        place = match place {
            Value::Object(object) => object.get_mut(*step).unwrap(),
            Value::Array(array) => &mut array[step.parse::<usize>().unwrap()],
            other => panic!("{step} of {other:?}"),
        };
    }
    match (place, new) {
        (Value::Object(object), Some(new)) => drop(object.insert((*last).into(), new)),
        (Value::Object(object), None) => drop(object.remove(*last)),
        (Value::Array(array), Some(new)) => array[last.parse::<usize>().unwrap()] = new,
        (place, new) => panic!("{place:?} {new:?}"),
    }
    value
}

fn decode(value: &Value, from: Position, known: Position) -> Result<Vec<PulledChunk>, Refusal> {
    PageView::of(value)?.rows_after(from, known)
}

#[test]
fn only_rows_after_the_known_position_are_decoded() {
    let rows = (1..=4).map(|ts| row(at(ts, 0), "a", &[ts as u8])).collect();
    let value = page(rows, at(4, 0), false);
    let bytes = |known| -> Vec<Vec<u8>> {
        decode(&value, Position::default(), known).unwrap().into_iter().map(|chunk| chunk.bytes).collect()
    };
    assert_eq!(bytes(at(0, 0)), [[1], [2], [3], [4]]);
    assert_eq!(bytes(at(2, 0)), [[3], [4]]);
    assert_eq!(bytes(at(2, 9)), [[3], [4]]);
    assert!(bytes(at(4, 0)).is_empty());
}

#[test]
fn a_part_is_decoded_with_its_place() {
    let part =
        object([("hash", Value::Bytes(vec![7; 32])), ("index", Value::Float64(1.0)), ("count", Value::Float64(3.0))]);
    let row = with(&row(at(1, 0), "a", b"x"), &["part"], Some(part));
    let chunks = decode(&page(vec![row], at(1, 0), false), at(0, 0), at(0, 0)).unwrap();
    assert_eq!(chunks[0].part, Some(Part { hash: [7; 32], index: 1, count: 3 }));
}

#[test]
fn a_page_of_the_wrong_shape_is_refused_and_says_what_is_wrong() {
    let part = object([("hash", Value::Bytes(vec![7; 32])), ("index", 0.0.into()), ("count", 1.0.into())]);
    let first = with(&row(at(1, 0), "a", b"x"), &["part"], Some(part));
    let good = page(vec![first, row(at(1, 1), "b", b"y")], at(1, 1), true);
    assert_eq!(decode(&good, at(0, 0), at(0, 0)).unwrap().len(), 2);
    let wrong: &[(&[&str], Option<Value>, &str)] = &[
        (&["deltas"], None, "deltas"),
        (&["deltas"], Some(Value::Null), "deltas"),
        (&["checkpoint"], Some(3.0.into()), "checkpoint"),
        (&["checkpoint", "ts"], Some(1.0.into()), "ts"),
        (&["checkpoint", "ts"], Some(Value::Int64(-1)), "ts"),
        (&["checkpoint", "ordinal"], Some(Value::Int64(1)), "ordinal"),
        (&["checkpoint", "ordinal"], Some(1.5.into()), "ordinal"),
        (&["checkpoint", "ordinal"], Some(f64::NAN.into()), "ordinal"),
        (&["checkpoint", "ordinal"], Some(1e300.into()), "ordinal"),
        (&["checkpoint", "ordinal"], Some(0.0.into()), "order"),
        (&["hasMore"], Some(Value::Null), "hasMore"),
        (&["epoch"], None, "epoch"),
        (&["deltas", "0"], Some(Value::Null), "row"),
        (&["deltas", "0", "id"], Some("".into()), "id"),
        (&["deltas", "0", "id"], Some("x".repeat(129).into()), "id"),
        (&["deltas", "0", "bytes"], Some("x".into()), "bytes"),
        (&["deltas", "0", "bytes"], Some(Value::Bytes(vec![0; CHUNK_BYTES + 1])), "bytes"),
        (&["deltas", "0", "ts"], Some(Value::Int64(2)), "order"),
        (&["deltas", "0", "ordinal"], Some(1.0.into()), "order"),
        (&["deltas", "0", "ts"], Some(Value::Int64(0)), "continue"),
        (&["deltas", "0", "part"], Some(1.0.into()), "part"),
        (&["deltas", "0", "part", "hash"], Some(Value::Bytes(vec![7; 31])), "hash"),
        (&["deltas", "0", "part", "index"], Some(1.0.into()), "index"),
        (&["deltas", "0", "part", "count"], Some(0.0.into()), "index"),
    ];
    for (path, new, says) in wrong {
        let refusal = decode(&with(&good, path, new.clone()), at(0, 0), at(0, 0)).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::BadAnswer);
        assert!(refusal.message.contains(says), "{path:?}: {}", refusal.message);
    }
    for value in [Value::Null, "page".into(), Value::Array(vec![])] {
        assert_eq!(decode(&value, at(0, 0), at(0, 0)).unwrap_err().code, RefusalCode::BadAnswer);
    }
}

#[test]
fn an_empty_page_has_to_stay_where_it_was_asked_from() {
    assert!(decode(&page(vec![], at(3, 0), false), at(3, 0), at(3, 0)).unwrap().is_empty());
    assert!(decode(&page(vec![], at(4, 0), false), at(3, 0), at(3, 0)).is_err());
    assert!(decode(&page(vec![], at(3, 0), true), at(3, 0), at(3, 0)).is_err(), "or it is asked for ever");
}

#[test]
fn failures_become_codes_and_words() {
    let convex_error = |data| FunctionResult::ConvexError(ConvexError { message: "Server Error".into(), data });
    let data = object([("code", "notAuthorized".into()), ("message", "not yours".into())]);
    for (result, code, message) in [
        (convex_error(data), "notAuthorized", "not yours"),
        (convex_error(object([("code", "own".into())])), "own", "Server Error"),
        (convex_error("plain words".into()), "failed", "plain words"),
        (convex_error(Value::Null), "failed", "Server Error"),
        (convex_error(object([("code", 3.0.into())])), "failed", "Server Error"),
        (FunctionResult::ErrorMessage("it broke".into()), "failed", "it broke"),
    ] {
        let refusal = outcome(&result, PULL).unwrap_err();
        assert_eq!((refusal.code.as_str(), refusal.message.as_str()), (code, message));
    }
    let missing = "[Request ID: 1] Server Error\nCould not find public function for 'tasks:pullDeltas'.";
    let refusal = outcome(&FunctionResult::ErrorMessage(missing.into()), PULL).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::UnknownFunction);
    assert!(refusal.message.contains("`tasks:pullDeltas`: deploy"));
}

#[test]
fn the_results_of_a_push_have_to_be_those_asked_for() {
    let ids = [DocumentId::new("a"), DocumentId::new("b")];
    let accepted = object([("id", "a".into()), ("status", "accepted".into())]);
    let refused = object([
        ("id", "b".into()),
        ("status", "refused".into()),
        ("code", "tooLarge".into()),
        ("message", "too much".into()),
    ]);
    let answer = object([("epoch", "e1".into()), ("results", Value::Array(vec![accepted.clone(), refused]))]);
    let (epoch, results) = push_answer(&answer, ids.iter()).unwrap();
    assert_eq!(epoch, "e1");
    let refusal = Refusal::new("tooLarge", "too much");
    assert_eq!(results, [Ok(()), Err(refusal)]);
    for (path, new) in [
        (&["epoch"][..], None),
        (&["results"], None),
        (&["results"], Some(Value::Array(vec![accepted.clone()]))),
        (&["results", "1"], Some(accepted.clone())),
        (&["results", "1"], Some(Value::Null)),
        (&["results", "1", "status"], Some("maybe".into())),
        (&["results", "1", "code"], None),
        (&["results", "1", "message"], Some(Value::Null)),
    ] {
        let refusal = push_answer(&with(&answer, path, new), ids.iter()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::BadAnswer, "{path:?}");
    }
}

#[test]
fn a_count_is_a_whole_number_or_nothing() {
    let count = |value| document_count(&object([("timestamp", 1.0.into()), ("count", value)]));
    assert_eq!(count(10_000.0.into()), Some(10_000));
    for wrong in [Value::Int64(3), (-1.0).into(), 0.5.into(), f64::INFINITY.into(), Value::Null] {
        assert_eq!(count(wrong), None);
    }
    assert_eq!(document_count(&Value::Null), None);
}

#[test]
fn fields_that_no_call_may_have_are_left_to_the_backend() {
    use crate::format::Value as Held;
    let deep = |levels: usize| (0..levels).fold(Held::Null, |inner, _| Held::List(vec![inner]));
    let map = |names: &mut dyn Iterator<Item = String>| Held::Map(names.map(|name| (name, Held::Bool(true))).collect());
    let sent = |name: &str, value: Held| {
        let document = PushedDocument {
            id: DocumentId::new("a"),
            changes: Vec::new(),
            fields: Some([(name.to_owned(), value)].into()),
            removed: vec!["gone".into()],
        };
        let Value::Object(entry) = pushed_document(&document, &[], true) else { panic!("a document is an object") };
        assert_eq!(entry.contains_key("removed"), entry.contains_key("fields"));
        entry.get("fields").cloned()
    };
    for (name, value) in [
        ("👍", Held::Null),
        ("$me", Held::Null),
        ("", Held::Null),
        ("names", map(&mut ["Zoë".to_owned()].into_iter())),
        ("names", Held::List(vec![map(&mut [String::new()].into_iter())])),
        ("names", map(&mut ["x".repeat(1_025)].into_iter())),
        ("many", map(&mut (0..1_025).map(|index| format!("f{index}")))),
        ("points", Held::List(vec![Held::Null; 8_193])),
        ("deep", deep(60)),
    ] {
        assert_eq!(sent(name, value), None, "{name:?}");
    }
    assert!(sent("_me", Held::Null).is_some(), "a call may have it, and a row lacks it");
    for value in [
        deep(59),
        Held::List(vec![Held::Null; 8_192]),
        map(&mut (0..1_024).map(|index| format!("f{index}"))),
        Held::Float(f64::NAN),
        Held::Float(-0.0),
    ] {
        let Some(Value::Object(fields)) = sent("value", value.clone()) else { panic!("{value:?} is not sent") };
        assert_eq!(format!("{:?}", fields["value"]), format!("{:?}", value.to_convex()));
    }
    let number = |value: Held| serde_json::Value::from(value.to_convex());
    assert_eq!(number(Held::Int(9_007_199_254_740_991)), serde_json::json!(9_007_199_254_740_991.0));
    assert_eq!(number(Held::Int(-9_007_199_254_740_992)), serde_json::json!("-9007199254740992"));
    assert_eq!(number(Held::Uint(u64::MAX)), serde_json::json!("18446744073709551615"));
}
