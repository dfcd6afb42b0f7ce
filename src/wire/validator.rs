//! Checks arguments as Convex does, with the same error texts.

use std::fmt;

use convex::Value;

/// A type of value, written as in Convex: `v.string()`, `v.array(v.bytes())`, ..
#[derive(Clone, Debug)]
pub(crate) enum Validator {
    Any,
    Bytes,
    Float64,
    Int64,
    String,
    Array(Box<Validator>),
    Object(Vec<Field>),
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(super) struct Field {
    name: &'static str,
    validator: Validator,
    optional: bool,
}

/// An object with exactly these fields. Fields are shown, and checked, in the order of their names, as Convex does.
pub(super) fn object<const N: usize>(mut fields: [Field; N]) -> Validator {
    fields.sort_by_key(|field| field.name);
    Validator::Object(fields.into())
}

pub(super) fn array(element: Validator) -> Validator {
    Validator::Array(Box::new(element))
}

pub(super) fn required(name: &'static str, validator: Validator) -> Field {
    Field { name, validator, optional: false }
}

pub(super) fn optional(name: &'static str, validator: Validator) -> Field {
    Field { name, validator, optional: true }
}

impl Validator {
    /// Whether `value` is of this type; else Convex's `ArgumentValidationError`.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        self.check_at(value, &mut String::new()).map_err(|message| format!("ArgumentValidationError: {message}"))
    }

    fn check_at(&self, value: &Value, path: &mut String) -> Result<(), String> {
        match (self, value) {
            (Self::Any, _)
            | (Self::Bytes, Value::Bytes(_))
            | (Self::Float64, Value::Float64(_))
            | (Self::Int64, Value::Int64(_))
            | (Self::String, Value::String(_)) => Ok(()),
            (Self::Array(element), Value::Array(values)) => {
                let length = path.len();
                for (index, value) in values.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    element.check_at(value, path)?;
                    path.truncate(length);
                }
                Ok(())
            }
            (Self::Object(fields), Value::Object(object)) => {
                let length = path.len();
                for field in fields {
                    if let Some(value) = object.get(field.name) {
                        path.push('.');
                        path.push_str(field.name);
                        field.validator.check_at(value, path)?;
                        path.truncate(length);
                    } else if !field.optional {
                        return Err(format!(
                            "Object is missing the required field `{}`. Consider wrapping the field validator in \
                             `v.optional(...)` if this is expected.\n{}\nObject: {}\nValidator: {self}",
                            field.name,
                            Path(path),
                            Shown(value),
                        ));
                    }
                }
                match object.keys().find(|name| !fields.iter().any(|field| field.name == name.as_str())) {
                    Some(extra) => Err(format!(
                        "Object contains extra field `{}` that is not in the validator.\n{}\nObject: {}\nValidator: {self}",
                        clipped(extra),
                        Path(path),
                        Shown(value),
                    )),
                    None => Ok(()),
                }
            }
            _ => Err(format!(
                "Value does not match validator.\n{}\nValue: {}\nValidator: {self}",
                Path(path),
                Shown(value)
            )),
        }
    }
}

impl fmt::Display for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("v.any()"),
            Self::Bytes => f.write_str("v.bytes()"),
            Self::Float64 => f.write_str("v.float64()"),
            Self::Int64 => f.write_str("v.int64()"),
            Self::String => f.write_str("v.string()"),
            Self::Array(element) => write!(f, "v.array({element})"),
            Self::Object(fields) => {
                f.write_str("v.object({")?;
                for (index, field) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    if field.optional {
                        write!(f, "{comma}{}: v.optional({})", field.name, field.validator)?;
                    } else {
                        write!(f, "{comma}{}: {}", field.name, field.validator)?;
                    }
                }
                f.write_str("})")
            }
        }
    }
}

struct Path<'a>(&'a str);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "Path: {}", self.0) }
    }
}

/// Characters of a value that an error repeats: the caller knows the rest.
const SHOWN: usize = 400;

/// A value as Convex shows it, cut short.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        show(self.0, &mut text);
        f.write_str(clipped(&text))?;
        if text.len() > SHOWN { f.write_str("..") } else { Ok(()) }
    }
}

fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}

fn show(value: &Value, text: &mut String) {
    if text.len() > SHOWN {
        return;
    }
    match value {
        Value::Null => text.push_str("null"),
        Value::Int64(value) => text.push_str(&format!("{value}n")),
        Value::Float64(value) => text.push_str(&format!("{value:?}")),
        Value::Boolean(value) => text.push_str(&value.to_string()),
        Value::String(value) => text.push_str(&format!("{:?}", clipped(value))),
        Value::Bytes(bytes) => text.push_str(&format!("Bytes({})", bytes.len())),
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                show(value, text);
                if text.len() > SHOWN {
                    return;
                }
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                text.push_str(clipped(name));
                text.push_str(": ");
                show(value, text);
                if text.len() > SHOWN {
                    return;
                }
            }
            text.push('}');
        }
    }
}
