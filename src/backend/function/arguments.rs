//! Arguments: read, checked against their validator, and taken apart.

use std::collections::BTreeMap;

use convex::Value;

use super::CallError;
use crate::{
    backend::{
        failure::Failure,
        log::{Chunk, PushChanges, PushedDocument},
        validator::Validator,
    },
    chunk::Part,
    limits::SCOPE_BYTES,
};

/// Arguments travel as an array of one object.
pub(super) fn checked(args: &str, validator: &Validator) -> Result<Fields, CallError> {
    let invalid = |problem: String| CallError::Message(format!("InvalidArguments: {problem}"));
    let json: serde_json::Value = serde_json::from_str(args).map_err(|error| invalid(error.to_string()))?;
    let json = match json {
        serde_json::Value::Array(mut args) if args.len() < 2 => args.pop().unwrap_or_else(|| serde_json::json!({})),
        serde_json::Value::Array(args) => {
            return Err(invalid(format!("{} arguments instead of one object", args.len())));
        }
        object => object,
    };
    let value = Value::try_from(json).map_err(|error| invalid(error.to_string()))?;
    validator.check(&value).map_err(CallError::Message)?;
    match value {
        Value::Object(fields) => Ok(Fields(fields)),
        _ => Err(invalid("the argument is not an object".into())),
    }
}

/// The fields of an object that its validator has passed: what is required is there, and everything is of its type.
pub(super) struct Fields(BTreeMap<String, Value>);

impl Fields {
    pub fn optional_string(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name) {
            Some(Value::String(value)) => Some(value),
            _ => None,
        }
    }

    pub fn optional_float64(&mut self, name: &str) -> Option<f64> {
        match self.0.remove(name) {
            Some(Value::Float64(value)) => Some(value),
            _ => None,
        }
    }

    pub fn optional_int64(&mut self, name: &str) -> Option<i64> {
        match self.0.remove(name) {
            Some(Value::Int64(value)) => Some(value),
            _ => None,
        }
    }

    pub fn optional_fields(&mut self, name: &str) -> Option<Fields> {
        match self.0.remove(name) {
            Some(Value::Object(value)) => Some(Fields(value)),
            _ => None,
        }
    }

    pub fn fields(&mut self, name: &str) -> Fields {
        self.optional_fields(name).unwrap_or(Fields(BTreeMap::new()))
    }

    pub fn string(&mut self, name: &str) -> String {
        self.optional_string(name).unwrap_or_default()
    }

    pub fn float64(&mut self, name: &str) -> f64 {
        self.optional_float64(name).unwrap_or_default()
    }

    pub fn int64(&mut self, name: &str) -> i64 {
        match self.0.remove(name) {
            Some(Value::Int64(value)) => value,
            _ => 0,
        }
    }

    pub fn bytes(&mut self, name: &str) -> Vec<u8> {
        match self.0.remove(name) {
            Some(Value::Bytes(value)) => value,
            _ => Vec::new(),
        }
    }

    pub fn array(&mut self, name: &str) -> Vec<Value> {
        match self.0.remove(name) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        }
    }

    pub fn objects(&mut self, name: &str) -> impl Iterator<Item = Fields> {
        self.array(name).into_iter().filter_map(|value| match value {
            Value::Object(fields) => Some(Fields(fields)),
            _ => None,
        })
    }
}

/// The arguments of `pushChanges`.
pub(super) fn push_changes(mut args: Fields) -> Result<PushChanges, CallError> {
    let documents = args
        .objects("documents")
        .map(|mut document| PushedDocument {
            id: document.string("id"),
            changes: document.objects("changes").map(chunk).collect(),
            fields: document.0.remove("fields"),
            removed: document
                .array("removed")
                .into_iter()
                .filter_map(|name| match name {
                    Value::String(name) => Some(name),
                    _ => None,
                })
                .collect(),
        })
        .collect();
    Ok(PushChanges { documents, scope: check_scope(args.optional_string("scope"))? })
}

fn chunk(mut chunk: Fields) -> Chunk {
    let part = chunk.optional_fields("part").map(|mut part| {
        Some(Part {
            hash: part.bytes("hash").try_into().ok()?,
            index: whole(part.float64("index"))?,
            count: whole(part.float64("count"))?,
        })
    });
    Chunk { bytes: chunk.bytes("bytes").into(), part }
}

/// A number that counts something.
pub(super) fn whole(number: f64) -> Option<u32> {
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
}

/// A scope becomes part of every document in it, and of every open query.
pub(super) fn check_scope(scope: Option<String>) -> Result<Option<String>, CallError> {
    match scope {
        Some(scope) if scope.len() > SCOPE_BYTES => {
            Err(Failure::too_large(format!("the scope has {} bytes", scope.len()), SCOPE_BYTES).into())
        }
        scope => Ok(scope),
    }
}
