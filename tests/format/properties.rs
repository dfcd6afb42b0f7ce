//! Properties of all values and all documents.

use std::collections::BTreeMap;

use automerge::{ActorId, AutoCommit, ROOT, transaction::Transactable};
use bevy_convex_replicate::format::{self, Value};
use proptest::prelude::*;

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (i64::MAX as u64 + 1..).prop_map(Value::Uint),
        any::<f64>().prop_map(Value::Float),
        "[a-c\u{e9}\u{1f600}]{0,6}".prop_map(Value::Text),
        "[a-c\u{e9}\u{1f600}]{0,6}".prop_map(Value::Scalar),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(Value::Bytes),
        any::<i64>().prop_map(Value::Timestamp),
        (-1000i64..1000).prop_map(Value::Counter),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 5, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map("[a-d]", inside, 0..4).prop_map(Value::Map),
        ]
    })
}

fn root() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]{1,2}", value(), 0..5).prop_map(Value::Map)
}

fn nothing() -> Value {
    Value::Map(BTreeMap::new())
}

fn document_of(value: &Value) -> AutoCommit {
    let mut document = AutoCommit::new();
    format::edit(&mut document, &nothing(), value).unwrap();
    document.commit();
    document
}

fn reloaded(document: &mut AutoCommit) -> Value {
    format::read(&AutoCommit::load(&document.save()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_document_reads_as_the_value_that_was_written(value in root()) {
        let mut document = document_of(&value);
        prop_assert_eq!(&format::read(&document), &value);
        prop_assert_eq!(&reloaded(&mut document), &value);
    }

    #[test]
    fn a_document_with_content_reads_as_the_value_that_was_written_next(value in root(), next in root()) {
        let mut blank = AutoCommit::new();
        format::edit(&mut blank, &nothing(), &value).unwrap();
        blank.put(ROOT, "id", "x").unwrap();
        let mut named = AutoCommit::new();
        named.put(ROOT, "id", "x").unwrap();
        format::edit(&mut named, &nothing(), &value).unwrap();
        for document in [&mut blank, &mut named] {
            // In the same change that made it.
            let edited = format::edit(document, &value, &next).unwrap();
            prop_assert_eq!(edited.is_empty(), value == next);
            let mut expected = next.as_map().unwrap().clone();
            expected.insert("id".into(), Value::Scalar("x".into()));
            prop_assert_eq!(&format::read(document), &Value::Map(expected.clone()));
            prop_assert_eq!(&reloaded(document), &Value::Map(expected));
        }
    }

    #[test]
    fn an_edit_turns_the_old_value_into_the_new_one(old in root(), new in root()) {
        let mut document = document_of(&old);
        let edited = format::edit(&mut document, &old, &new).unwrap();
        prop_assert_eq!(&format::read(&document), &new);
        for (key, value) in new.as_map().unwrap() {
            prop_assert_eq!(edited.set.contains(key), old.get(key) != Some(value));
        }
        for key in old.as_map().unwrap().keys() {
            prop_assert_eq!(edited.removed.contains(key), new.get(key).is_none());
        }
        prop_assert_eq!(&reloaded(&mut document), &new);
    }

    #[test]
    fn a_repeated_edit_writes_nothing(old in root(), new in root()) {
        let mut document = document_of(&old);
        format::edit(&mut document, &old, &new).unwrap();
        document.commit();
        let heads = document.get_heads();
        prop_assert!(format::edit(&mut document, &new, &new).unwrap().is_empty());
        // An edit that has not seen the content writes nothing either.
        prop_assert!(format::edit(&mut document, &nothing(), &new).unwrap().is_empty());
        document.commit();
        prop_assert_eq!(document.get_heads(), heads);
    }

    #[test]
    fn an_edit_of_an_earlier_version_converges_with_later_ones(old in root(), mine in root(), theirs in root()) {
        let mut document = document_of(&old);
        let base = document.get_heads();
        let mut other = document.fork().with_actor(ActorId::random());
        format::edit(&mut other, &old, &theirs).unwrap();
        other.commit();
        document.merge(&mut other).unwrap();

        document.isolate(&base);
        prop_assert_eq!(&format::read(&document), &old);
        format::edit(&mut document, &old, &mine).unwrap();
        prop_assert_eq!(&format::read(&document), &mine);
        document.commit();
        document.integrate();

        other.merge(&mut document).unwrap();
        let merged = format::read(&document);
        prop_assert_eq!(&format::read(&other), &merged);
        prop_assert_eq!(&reloaded(&mut document), &merged);
    }
}
