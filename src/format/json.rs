//! Values as JSON for the store's cache. JSON is fast to read at start, and people can read it in the file.
//!
//! Types that JSON has are written directly. Other types are an object with one key that starts with `$`:
//! `{"$scalar": "x"}`, `{"$bytes": "<base64>"}`, `{"$timestamp": 0}`, `{"$counter": 0}`, `{"$float": "NaN"}`. A key of
//! the app that starts with `$` gets a second `$` in front.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Serialize, Serializer,
    de::{self, DeserializeSeed, Error as _},
    ser::SerializeMap,
};

use super::{FormatError, Value};

const SCALAR: &str = "$scalar";
const BYTES: &str = "$bytes";
const TIMESTAMP: &str = "$timestamp";
const COUNTER: &str = "$counter";
const FLOAT: &str = "$float";

impl Value {
    /// The value as compact JSON. [`Value::from_json_text`] reads the same value, with the same kinds, from it.
    ///
    /// The payload of a NaN is lost. An integer keeps its value, but not whether it was a `u64`.
    pub fn to_json_text(&self) -> String {
        // Writing to a string fails only for keys that are not strings and for errors of a type's own `Serialize`.
        // Neither occurs here.
        serde_json::to_string(&Json(self)).unwrap_or_default()
    }

    /// Reads a value that [`Value::to_json_text`] wrote.
    ///
    /// # Errors
    ///
    /// If `text` is not such JSON.
    pub fn from_json_text(text: &str) -> Result<Value, FormatError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let value = FromJson.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
        value.map_err(|error| FormatError::new(format_args!("not a cached value: {error}")))
    }
}

struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(yes) => serializer.serialize_bool(*yes),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Uint(number) => serializer.serialize_u64(*number),
            Value::Float(number) if number.is_finite() => serializer.serialize_f64(*number),
            Value::Float(number) => tagged(serializer, FLOAT, &number.to_string()),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Scalar(text) => tagged(serializer, SCALAR, text),
            Value::Bytes(bytes) => tagged(serializer, BYTES, &BASE64_STANDARD.encode(bytes)),
            Value::Timestamp(time) => tagged(serializer, TIMESTAMP, time),
            Value::Counter(count) => tagged(serializer, COUNTER, count),
            Value::As(_, value) => Json(value).serialize(serializer),
            Value::List(items) => serializer.collect_seq(items.iter().map(Json)),
            Value::Map(fields) => serializer.collect_map(fields.iter().map(|(key, value)| (escaped(key), Json(value)))),
        }
    }
}

fn tagged<S: Serializer, T: Serialize + ?Sized>(serializer: S, tag: &str, value: &T) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(tag, value)?;
    map.end()
}

fn escaped(key: &str) -> Cow<'_, str> {
    if key.starts_with('$') { Cow::Owned(format!("${key}")) } else { Cow::Borrowed(key) }
}

#[derive(Clone, Copy)]
struct FromJson;

impl<'de> DeserializeSeed<'de> for FromJson {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for FromJson {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cached value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(Value::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Uint(number), Value::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(mut key) = access.next_key::<String>()? {
            if key.starts_with('$') {
                if !key.starts_with("$$") {
                    return match fields.is_empty() {
                        true => untagged(&key, access),
                        false => Err(A::Error::custom(format_args!("`{key}` cannot have other keys beside it"))),
                    };
                }
                key.remove(0);
            }
            fields.insert(key, access.next_value_seed(self)?);
        }
        Ok(Value::Map(fields))
    }
}

fn untagged<'de, A: de::MapAccess<'de>>(tag: &str, mut access: A) -> Result<Value, A::Error> {
    let value = match tag {
        SCALAR => Value::Scalar(access.next_value()?),
        TIMESTAMP => Value::Timestamp(access.next_value()?),
        COUNTER => Value::Counter(access.next_value()?),
        BYTES => Value::Bytes(BASE64_STANDARD.decode(access.next_value::<String>()?).map_err(A::Error::custom)?),
        FLOAT => Value::Float(access.next_value::<String>()?.parse().map_err(A::Error::custom)?),
        tag => {
            return Err(A::Error::custom(format_args!("`{tag}` is unknown here; a newer version may have written it")));
        }
    };
    match access.next_key::<String>()? {
        None => Ok(value),
        Some(key) => Err(A::Error::custom(format_args!("`{key}` stands beside `{tag}`"))),
    }
}
