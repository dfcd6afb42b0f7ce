//! Arguments, as a backend receives them.

use std::collections::BTreeMap;

use convex::Value;

use super::validator::Validator;

/// The fields of an object that its validator has accepted. So each required field is there, and every field has its
/// type. A field that is absent, or has another type, reads as the empty value of the requested type.
#[derive(Debug)]
pub(crate) struct Arguments(BTreeMap<String, Value>);

impl Arguments {
    /// Reads the arguments of a call and checks them. They travel as an array of one object.
    pub(super) fn read(json: &str, validator: &Validator) -> Result<Self, String> {
        let invalid = |problem: String| format!("InvalidArguments: {problem}");
        let json: serde_json::Value = serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
        let json = match json {
            serde_json::Value::Array(mut args) if args.len() < 2 => args.pop().unwrap_or_else(|| serde_json::json!({})),
            serde_json::Value::Array(args) => {
                return Err(invalid(format!("{} arguments instead of one object", args.len())));
            }
            object => object,
        };
        let value = Value::try_from(json).map_err(|error| invalid(error.to_string()))?;
        validator.check(&value)?;
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(invalid("the argument is not an object".into())),
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(super) fn optional_string(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            Some(Value::String(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn string(&mut self, name: &str) -> String {
        self.optional_string(name).unwrap_or_default()
    }

    pub(super) fn optional_float64(&mut self, name: &str) -> Option<f64> {
        match self.take(name) {
            Some(Value::Float64(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn float64(&mut self, name: &str) -> f64 {
        self.optional_float64(name).unwrap_or_default()
    }

    pub(super) fn optional_int64(&mut self, name: &str) -> Option<i64> {
        match self.take(name) {
            Some(Value::Int64(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn int64(&mut self, name: &str) -> i64 {
        self.optional_int64(name).unwrap_or_default()
    }

    pub(super) fn bytes(&mut self, name: &str) -> Vec<u8> {
        match self.take(name) {
            Some(Value::Bytes(value)) => value,
            _ => Vec::new(),
        }
    }

    pub(super) fn array(&mut self, name: &str) -> Vec<Value> {
        match self.take(name) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        }
    }

    pub(super) fn strings(&mut self, name: &str) -> Vec<String> {
        let string = |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        self.array(name).into_iter().filter_map(string).collect()
    }

    pub(super) fn optional_object(&mut self, name: &str) -> Option<Self> {
        self.take(name).and_then(Self::of)
    }

    pub(super) fn object(&mut self, name: &str) -> Self {
        self.optional_object(name).unwrap_or_else(|| Self(BTreeMap::new()))
    }

    pub(super) fn objects(&mut self, name: &str) -> impl Iterator<Item = Self> {
        self.array(name).into_iter().filter_map(Self::of)
    }

    fn of(value: Value) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(Self(fields)),
            _ => None,
        }
    }
}
