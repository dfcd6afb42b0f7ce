//! Answers as a client gets them.

use std::collections::BTreeMap;

use convex::{FunctionResult, Value};

use super::{function::Function, refusal, value};
use crate::record::{Position, Refusal, RefusalCode};

/// The message with which Convex says that there is no such function.
pub(crate) const NO_FUNCTION: &str = "Could not find public function";

/// The refusal of an answer that cannot be read.
pub(crate) fn bad_answer(problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        RefusalCode::BadAnswer,
        format!(
            "the deployment answered what this client does not understand ({problem}): deploy functions of the version that goes with it"
        ),
    )
}

/// The value that a function returned, or why it failed.
pub(crate) fn outcome<'a>(result: &'a FunctionResult, function: Function<'_>) -> Result<&'a Value, Refusal> {
    let message = match result {
        FunctionResult::Value(value) => return Ok(value),
        FunctionResult::ErrorMessage(message) => message,
        FunctionResult::ConvexError(error) => match &error.data {
            Value::String(message) => message,
            data => match refusal::decode(data, &error.message) {
                Some(refusal) => return Err(refusal),
                None => &error.message,
            },
        },
    };
    if message.contains(NO_FUNCTION) {
        return Err(Refusal::new(
            RefusalCode::UnknownFunction,
            format!(
                "the deployment has no function `{function}`: deploy the collection's functions, or correct the collection's name (its message: {message})"
            ),
        ));
    }
    Err(Refusal::new(RefusalCode::Failed, message))
}

/// An object in an answer. Its fields may be missing or of another type. `place` names the object in errors.
pub(super) struct AnswerObject<'a> {
    place: &'static str,
    fields: &'a BTreeMap<String, Value>,
}

impl<'a> AnswerObject<'a> {
    pub(super) fn of(value: &'a Value, place: &'static str) -> Result<Self, Refusal> {
        match value {
            Value::Object(fields) => Ok(Self { place, fields }),
            _ => Err(bad_answer(format_args!("{place} is not an object"))),
        }
    }

    /// The refusal of an answer whose field `name` is not as expected.
    pub(super) fn wrong(&self, name: &str, expected: &str) -> Refusal {
        bad_answer(format_args!("`{name}` of {} is not {expected}", self.place))
    }

    pub(super) fn optional(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name)
    }

    pub(super) fn get(&self, name: &str) -> Result<&'a Value, Refusal> {
        self.optional(name).ok_or_else(|| bad_answer(format_args!("{} has no `{name}`", self.place)))
    }

    pub(super) fn string(&self, name: &str) -> Result<&'a str, Refusal> {
        match self.get(name)? {
            Value::String(string) => Ok(string),
            _ => Err(self.wrong(name, "a string")),
        }
    }

    pub(super) fn bool(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name)? {
            Value::Boolean(value) => Ok(*value),
            _ => Err(self.wrong(name, "a boolean")),
        }
    }

    pub(super) fn optional_int(&self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::Int64(number)) => Ok(Some(*number)),
            Some(_) => Err(self.wrong(name, "an int64")),
        }
    }

    pub(super) fn bytes(&self, name: &str) -> Result<&'a [u8], Refusal> {
        match self.get(name)? {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong(name, "bytes")),
        }
    }

    pub(super) fn array(&self, name: &str) -> Result<&'a [Value], Refusal> {
        match self.get(name)? {
            Value::Array(values) => Ok(values),
            _ => Err(self.wrong(name, "an array")),
        }
    }

    /// A whole number that fits in 32 bits, as `v.number()` carries it.
    pub(super) fn count(&self, name: &str) -> Result<u32, Refusal> {
        match self.get(name)? {
            Value::Float64(number) => value::whole(*number).ok_or_else(|| self.wrong(name, "a whole number")),
            _ => Err(self.wrong(name, "a whole number")),
        }
    }

    pub(super) fn position(&self) -> Result<Position, Refusal> {
        let ts = match self.get("ts")? {
            Value::Int64(ts) if *ts >= 0 => *ts,
            _ => return Err(self.wrong("ts", "an int64 from 0 up")),
        };
        Ok(Position { ts, ordinal: self.count("ordinal")? })
    }
}
