mod answers;
mod original;
mod round_trip;
mod strangers;

use std::collections::BTreeMap;

use convex::Value;
use serde_json::json;

use super::{arguments::Arguments, *};
use crate::record::Position;

fn at(ts: i64, ordinal: u32) -> Position {
    Position { ts, ordinal }
}

/// A value after it was carried as JSON, which is how Convex's protocols carry it.
fn carried(value: Value) -> Value {
    Value::try_from(serde_json::Value::from(value)).expect("an encoded value can be read")
}

/// The arguments of a call after they were carried and checked: an array of one object.
fn called(function: FunctionName, arguments: BTreeMap<String, Value>) -> Arguments {
    let json = serde_json::Value::from(Value::Array(vec![Value::Object(arguments)]));
    super::arguments(function, &json.to_string()).expect("a client's arguments have the function's shape")
}

#[test]
fn a_position_crosses_as_int64_and_float64() {
    let arguments = Value::Object(pull_arguments(at(5, 2), None));
    let json = json!({ "checkpoint": { "ts": { "$integer": "BQAAAAAAAAA=" }, "ordinal": 2.0 } });
    assert_eq!(serde_json::Value::from(arguments), json);
}

#[test]
fn a_function_is_found_by_its_name_alone() {
    for function in FunctionName::ALL {
        assert_eq!(FunctionName::parse(function.as_str()), Some(function));
    }
    for unknown in ["", "default", "pushchanges", "pushChanges ", "compact"] {
        assert_eq!(FunctionName::parse(unknown), None);
    }
    let function = Function { module: "tasks", name: FunctionName::PushChanges };
    assert_eq!(function.to_string(), "tasks:pushChanges");
}
