//! Rows leave out fields that Convex cannot store, and the documents keep them.

use automerge::{ObjType, ScalarValue, transaction::Transaction};
use convex::Value;
use proptest::prelude::*;

use super::{super::row::TableRow, *};
use crate::limits::{LIST_ELEMENTS, OBJECT_FIELDS, ROW_BYTES, ROW_NESTING, is_field_name, is_root_field_name};

/// The row of a document that is pushed in one change.
fn row_of(write: impl FnOnce(&mut Transaction<'_>)) -> BTreeMap<String, Value> {
    let mut document = Automerge::new();
    let mut transaction = document.transaction();
    write(&mut transaction);
    transaction.commit();
    let mut log = Log::new("epoch");
    let changes = document.get_changes(&[]);
    let pushed = push("d", changes.iter().map(|change| change.raw_bytes().to_vec()));
    let answer = log.push_changes("c", Rights::ALL, pushed, 0).unwrap().answer;
    assert!(answer[0].1.is_ok(), "{answer:?}");
    log.publish();
    let whole = log.pull_changes("c", 0.0, None).documents.remove(0);
    assert_eq!(Automerge::load(&whole.bytes).unwrap().get_heads(), document.get_heads());
    let Value::Object(row) = log.rows("c").remove(0).1 else { panic!("a row is an object") };
    row
}

#[test]
fn numbers_are_kept_exactly() {
    let row = row_of(|document| {
        for (name, value) in [
            ("uint", ScalarValue::Uint(u64::MAX)),
            ("int", ScalarValue::Int(i64::MIN)),
            ("counter", ScalarValue::counter(1 << 60)),
            ("safe", ScalarValue::Int((1 << 53) - 1)),
            ("zero", ScalarValue::F64(-0.0)),
            ("nan", ScalarValue::F64(f64::NAN)),
            ("large", ScalarValue::F64(1e300)),
            ("time", ScalarValue::Timestamp(-5)),
            ("never", ScalarValue::Timestamp(i64::MAX)),
        ] {
            document.put(ROOT, name, value).unwrap();
        }
    });
    for (name, digits) in
        [("uint", "18446744073709551615"), ("int", "-9223372036854775808"), ("counter", "1152921504606846976")]
    {
        assert_eq!(row[name], Value::from(digits));
    }
    for (name, number) in [("safe", 9_007_199_254_740_991.0), ("large", 1e300), ("time", -5.0)] {
        assert_eq!(row[name], Value::Float64(number));
    }
    assert!(matches!(row["zero"], Value::Float64(zero) if zero == 0.0 && zero.is_sign_negative()));
    assert!(matches!((&row["nan"], &row["never"]), (Value::Float64(a), Value::Float64(b)) if a.is_nan() && b.is_nan()));
    assert!(!row.contains_key("notInRow"));
}

#[test]
fn a_document_of_very_many_levels_is_taken() {
    let row = row_of(|document| {
        let mut place = document.put_object(ROOT, "deep", ObjType::Map).unwrap();
        for _ in 0..100 {
            place = document.put_object(place, "d", ObjType::Map).unwrap();
        }
    });
    let deepest = format!("deep{}", ".d".repeat(ROW_NESTING - 1));
    assert_eq!(row["notInRow"], Value::Array(vec![deepest.into()]));
}

/// Names of every kind.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-e]",
        1 => Just("notInRow".to_owned()),
        1 => Just(String::new()),
        1 => "[$_é👍 \"a]{1,3}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Int64),
        any::<f64>().prop_map(Value::Float64),
        ".{0,5}".prop_map(Value::String),
        (0..3usize).prop_map(|which| Value::Bytes(vec![0; [3, 400_000, ROW_BYTES][which]])),
        Just(Value::Array(vec![Value::Null; LIST_ELEMENTS + 1])),
        (0..2usize).prop_map(|more| {
            Value::Object((0..OBJECT_FIELDS + more).map(|index| (format!("f{index}"), Value::Null)).collect())
        }),
        (14..20usize).prop_map(|depth| (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map(name(), inner, 0..3).prop_map(Value::Object),
        ]
    })
}

/// Whether Convex can store a value.
fn is_storable(value: &Value, depth: usize) -> bool {
    match value {
        Value::Int64(_) => false,
        Value::Array(items) => {
            depth <= ROW_NESTING
                && items.len() <= LIST_ELEMENTS
                && items.iter().all(|item| is_storable(item, depth + 1))
        }
        Value::Object(fields) => {
            let is_name = if depth == 1 { is_root_field_name } else { is_field_name };
            depth <= ROW_NESTING
                && fields.len() <= OBJECT_FIELDS
                && fields.iter().all(|(name, field)| is_name(name) && is_storable(field, depth + 1))
        }
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_can_be_stored_and_says_what_it_lacks(fields in prop::collection::btree_map(name(), value(), 0..5)) {
        let id = DocumentId::new("d");
        let row = TableRow::new(fields.clone(), &id);
        prop_assert!(is_storable(&Value::Object(row.fields.clone()), 1));
        let json = serde_json::Value::from(Value::Object(row.fields.clone())).to_string();
        // Bytes are a third longer in JSON.
        prop_assert!(json.len() < ROW_BYTES * 3 / 2);
        let own = |name: &str| ["id", "version", "timestamp", "deleted", "notInRow"].contains(&name);
        let lacks_field = fields.keys().any(|name| !own(name) && !row.fields.contains_key(name));
        prop_assert!(!lacks_field || row.fields.contains_key("notInRow"));
        // A row that is made of another row's fields is the same row.
        let whole: BTreeMap<_, _> = row.fields.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
        let again = TableRow::new(whole.clone(), &id);
        prop_assert!(!again.fields.contains_key("notInRow"));
        prop_assert_eq!(format!("{:?}", again.fields), format!("{whole:?}"));
    }
}
