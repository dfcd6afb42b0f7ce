//! The JSON that the store caches.

use bevy_convex_replicate::format::Value;
use proptest::prelude::*;

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

#[test]
fn ordinary_values_are_ordinary_json() {
    let value = map([
        ("list", Value::List(vec![Value::Null, Value::Bool(true), Value::Int(-1), Value::Float(1.0)])),
        ("text", Value::Text("a \"b\"".into())),
        ("uint", Value::Uint(u64::MAX)),
    ]);
    let text = value.to_json_text();
    assert_eq!(text, r#"{"list":[null,true,-1,1.0],"text":"a \"b\"","uint":18446744073709551615}"#);
    assert_eq!(format!("{:?}", Value::from_json_text(&text).unwrap()), format!("{value:?}"));
}

#[test]
fn values_of_types_that_json_lacks_are_tagged() {
    for (value, text) in [
        (Value::Scalar("a".into()), r#"{"$scalar":"a"}"#),
        (Value::Bytes(vec![0, 255]), r#"{"$bytes":"AP8="}"#),
        (Value::Timestamp(-5), r#"{"$timestamp":-5}"#),
        (Value::Counter(7), r#"{"$counter":7}"#),
        (Value::Float(f64::NAN), r#"{"$float":"NaN"}"#),
        (Value::Float(f64::NEG_INFINITY), r#"{"$float":"-inf"}"#),
    ] {
        assert_eq!(value.to_json_text(), text);
        assert_eq!(format!("{:?}", Value::from_json_text(text).unwrap()), format!("{value:?}"));
    }
}

#[test]
fn a_key_of_the_app_is_never_read_as_a_tag() {
    for key in ["$", "$$", "$scalar", "$$scalar", "$bytes", "a$"] {
        let value = map([(key, Value::Text("AP8=".into()))]);
        assert_eq!(Value::from_json_text(&value.to_json_text()).unwrap(), value, "{key}");
    }
}

#[test]
fn json_that_is_not_a_cached_value_is_refused() {
    for text in [
        "",
        "{",
        "[1] 2",
        r#"{"$later":1}"#,
        r#"{"$bytes":"?"}"#,
        r#"{"$bytes":3}"#,
        r#"{"$counter":1.5}"#,
        r#"{"$counter":1,"a":2}"#,
        r#"{"a":2,"$counter":1}"#,
        r#"{"$float":"much"}"#,
    ] {
        let error = Value::from_json_text(text).unwrap_err();
        assert!(error.message.starts_with("not a cached value: "), "{text}: {error}");
    }
    assert!(Value::from_json_text(&"[".repeat(100_000)).is_err());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (i64::MAX as u64 + 1..).prop_map(Value::Uint),
        any::<f64>().prop_map(Value::Float),
        any::<String>().prop_map(Value::Text),
        any::<String>().prop_map(Value::Scalar),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i64>().prop_map(Value::Counter),
    ];
    leaf.prop_recursive(5, 40, 5, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map("[$a]{0,3}", inside, 0..4).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_is_read_back_with_the_same_kind(value in value()) {
        let back = Value::from_json_text(&value.to_json_text()).unwrap();
        prop_assert_eq!(std::format!("{back:?}"), std::format!("{value:?}"));
    }
}
