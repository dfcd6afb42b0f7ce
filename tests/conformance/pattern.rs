//! Patterns of conformance cases.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use bevy_convex_replicate::format;
use serde_json::{Map, Value as Json};

pub type Bindings = BTreeMap<String, Json>;

/// `args` with the bound values at the places that name them.
pub fn fill(args: &Json, bindings: &Bindings) -> Result<Json, String> {
    Ok(match args {
        Json::Array(items) => items.iter().map(|item| fill(item, bindings)).collect::<Result<_, _>>()?,
        Json::Object(fields) => match word(fields, "$use").and_then(Json::as_str) {
            Some(name) => bindings.get(name).ok_or_else(|| format!("nothing is bound to {name}"))?.clone(),
            None => {
                let filled = fields.iter().map(|(name, value)| Ok((name.clone(), fill(value, bindings)?)));
                Json::Object(filled.collect::<Result<_, String>>()?)
            }
        },
        plain => plain.clone(),
    })
}

/// Whether a value matches its pattern. The error names the place that does not match.
pub fn mismatch(pattern: &Json, value: &Json, bindings: &mut Bindings, path: &str) -> Result<(), String> {
    match pattern {
        Json::Object(fields) => {
            if let Some(name) = word(fields, "$bind").and_then(Json::as_str) {
                return match bindings.get(name).cloned() {
                    Some(bound) => mismatch(&bound, value, bindings, path),
                    None => {
                        bindings.insert(name.to_owned(), value.clone());
                        Ok(())
                    }
                };
            }
            if let Some(wanted) = word(fields, "$any").and_then(Json::as_str) {
                let found = type_of(value);
                return expect(found == wanted, || format!("{path} is a {found}, not a {wanted}"));
            }
            if let Some(Json::Object(some)) = word(fields, "$partial") {
                return members(some, value, bindings, path, false);
            }
            if let Some(document) = word(fields, "$document") {
                return mismatch(document, &open(value, path)?, bindings, &format!("{path}(opened)"));
            }
            members(fields, value, bindings, path, true)
        }
        Json::Array(items) => {
            let Json::Array(values) = value else {
                return Err(format!("{path} is not a list"));
            };
            expect(values.len() == items.len(), || {
                format!("{path} has {} elements, not {}: {value}", values.len(), items.len())
            })?;
            for (index, (item, value)) in items.iter().zip(values).enumerate() {
                mismatch(item, value, bindings, &format!("{path}[{index}]"))?;
            }
            Ok(())
        }
        Json::Number(number) => {
            let same = value.as_f64().is_some_and(|value| Some(value) == number.as_f64());
            expect(same, || format!("{path} is {value}, not {pattern}"))
        }
        plain => expect(plain == value, || format!("{path} is {value}, not {pattern}")),
    }
}

/// The value of `key` in a pattern that is an object with only this field.
fn word<'a>(fields: &'a Map<String, Json>, key: &str) -> Option<&'a Json> {
    fields.get(key).filter(|_| fields.len() == 1)
}

fn members(
    pattern: &Map<String, Json>,
    value: &Json,
    bindings: &mut Bindings,
    path: &str,
    exact: bool,
) -> Result<(), String> {
    let Json::Object(value) = value else {
        return Err(format!("{path} is {value}, not an object"));
    };
    if let Some(extra) = value.keys().find(|name| exact && !pattern.contains_key(*name)) {
        return Err(format!("{path} has the field {extra}"));
    }
    for (name, part) in pattern {
        let field = value.get(name).ok_or_else(|| format!("{path} lacks the field {name}"))?;
        mismatch(part, field, bindings, &format!("{path}.{name}"))?;
    }
    Ok(())
}

/// The root fields of the document that the bytes contain.
fn open(value: &Json, path: &str) -> Result<Json, String> {
    let text = value.get("$bytes").and_then(Json::as_str).ok_or_else(|| format!("{path} is not bytes"))?;
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| format!("{path} is not base64: {error}"))?;
    let document = automerge::Automerge::load(&bytes).map_err(|error| format!("{path} does not open: {error}"))?;
    Ok(format::read(&document).to_convex().into())
}

fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Object(fields) if fields.contains_key("$integer") => "integer",
        Json::Object(fields) if fields.contains_key("$bytes") => "bytes",
        Json::Object(fields) if fields.contains_key("$float") => "number",
        Json::Object(_) => "object",
        Json::Array(_) => "list",
        Json::String(_) => "string",
        Json::Number(_) => "number",
        Json::Bool(_) => "boolean",
        Json::Null => "null",
    }
}

fn expect(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}
