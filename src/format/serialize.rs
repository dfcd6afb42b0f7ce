//! Converts a component to a [`Value`] through serde.

use std::{cell::Cell, collections::BTreeMap, fmt::Display};

use serde::{Serialize, ser};

use super::{FormatError, Merge, Value, entity, types};
use crate::limits::NESTING;
use compound::{ListSerializer, MapSerializer, VariantSerializer, of_variant};

mod compound;

/// The document content for `value`: strings become texts, unit variants become scalar strings, structs become maps,
/// and so on.
///
/// # Errors
///
/// If `value` cannot be a document, for example because of map keys that are not strings, numbers that do not fit in
/// 64 bits, or too deep nesting.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, FormatError> {
    let merges = Cell::new(false);
    value.serialize(ValueSerializer { depth: 0, merges: &merges })
}

/// Serializes one value at some depth.
#[derive(Clone, Copy)]
struct ValueSerializer<'a> {
    /// The number of lists and maps that contain the value.
    depth: usize,
    /// Whether concurrent edits inside the values written so far merge: one of them is a text, list, map of entries or
    /// counter.
    merges: &'a Cell<bool>,
}

impl<'a> ValueSerializer<'a> {
    /// The serializer for values inside this list or map.
    fn inside(self) -> Result<Self, FormatError> {
        if self.depth >= NESTING {
            return Err(FormatError::too_deep());
        }
        Ok(ValueSerializer { depth: self.depth + 1, ..self })
    }

    /// Notes that concurrent edits of this value merge.
    fn merging(self, value: Value) -> Value {
        self.merges.set(true);
        value
    }

    fn list(self, length: Option<usize>, merge: Option<Merge>) -> Result<ListSerializer<'a>, FormatError> {
        // The length is a hint, so it does not decide about large allocations.
        let items = Vec::with_capacity(length.unwrap_or(0).min(1024));
        Ok(ListSerializer { inside: self.inside()?, items, merge })
    }

    fn map(self) -> Result<MapSerializer<'a>, FormatError> {
        let outer = self.merges.replace(false);
        let inside = self.inside()?;
        Ok(MapSerializer { inside, fields: BTreeMap::new(), key: None, tag: None, merge: None, outer })
    }

    fn variant<S>(self, variant: &'static str, content: S, outer: bool) -> VariantSerializer<S> {
        VariantSerializer { variant, content, outer }
    }

    /// Whether concurrent edits inside the values written since `outer` was noted merge. If so, this is also true of
    /// the containing value.
    fn take_merges(self, outer: bool) -> bool {
        let merges = self.merges.get();
        self.merges.set(merges || outer);
        merges
    }
}

fn whole(number: i128) -> Result<Value, FormatError> {
    if let Ok(number) = i64::try_from(number) {
        Ok(Value::Int(number))
    } else if let Ok(number) = u64::try_from(number) {
        Ok(Value::Uint(number))
    } else {
        Err(FormatError::new(format_args!("{number} does not fit in 64 bits; use a string")))
    }
}

impl<'a> ser::Serializer for ValueSerializer<'a> {
    type Ok = Value;
    type Error = FormatError;
    type SerializeSeq = ListSerializer<'a>;
    type SerializeTuple = ListSerializer<'a>;
    type SerializeTupleStruct = ListSerializer<'a>;
    type SerializeTupleVariant = VariantSerializer<ListSerializer<'a>>;
    type SerializeMap = MapSerializer<'a>;
    type SerializeStruct = MapSerializer<'a>;
    type SerializeStructVariant = VariantSerializer<MapSerializer<'a>>;

    fn serialize_bool(self, yes: bool) -> Result<Value, FormatError> {
        Ok(Value::Bool(yes))
    }

    fn serialize_i8(self, number: i8) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_i16(self, number: i16) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_i32(self, number: i32) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_i64(self, number: i64) -> Result<Value, FormatError> {
        Ok(Value::Int(number))
    }

    fn serialize_i128(self, number: i128) -> Result<Value, FormatError> {
        whole(number)
    }

    fn serialize_u8(self, number: u8) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_u16(self, number: u16) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_u32(self, number: u32) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_u64(self, number: u64) -> Result<Value, FormatError> {
        whole(number.into())
    }

    fn serialize_u128(self, number: u128) -> Result<Value, FormatError> {
        match i128::try_from(number) {
            Ok(number) => whole(number),
            Err(_) => Err(FormatError::new(format_args!("{number} does not fit in 64 bits; use a string"))),
        }
    }

    fn serialize_f32(self, number: f32) -> Result<Value, FormatError> {
        Ok(Value::Float(number.into()))
    }

    fn serialize_f64(self, number: f64) -> Result<Value, FormatError> {
        Ok(Value::Float(number))
    }

    /// A letter is replaced as a whole: a merge of two letters as text would have two letters.
    fn serialize_char(self, letter: char) -> Result<Value, FormatError> {
        Ok(Value::Scalar(letter.to_string()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, FormatError> {
        Ok(self.merging(Value::Text(text.to_owned())))
    }

    /// A formatted value, such as a date or an address, is not edited letter by letter.
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<Value, FormatError> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, FormatError> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Value, FormatError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, FormatError> {
        entity::refuse::<T>()?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, FormatError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, FormatError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, FormatError> {
        Ok(Value::Scalar(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, FormatError> {
        entity::refuse::<T>()?;
        let outer = self.merges.get();
        let value = value.serialize(self)?;
        Ok(match (name, value) {
            (types::COUNTER, Value::Int(number)) => self.merging(Value::Counter(number)),
            (types::TIMESTAMP, Value::Int(number)) => Value::Timestamp(number),
            (types::SCALAR, Value::Text(text)) => {
                self.merges.set(outer);
                Value::Scalar(text)
            }
            (types::WHOLE, value) => {
                self.merges.set(outer);
                whole_of(value)
            }
            (_, value) => value,
        })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, FormatError> {
        entity::refuse::<T>().map_err(|error| error.in_field(variant))?;
        let outer = self.merges.replace(false);
        let value = value.serialize(self.inside()?).map_err(|error| error.in_field(variant))?;
        Ok(of_variant(variant, value, self.take_merges(outer)))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListSerializer<'a>, FormatError> {
        self.merges.set(true);
        self.list(length, None)
    }

    fn serialize_tuple(self, length: usize) -> Result<ListSerializer<'a>, FormatError> {
        self.list(Some(length), Some(Merge::Fixed))
    }

    /// The numbers of a tuple struct, such as a vector or a quaternion, have a meaning only together.
    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<ListSerializer<'a>, FormatError> {
        self.list(Some(length), Some(Merge::Whole))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<VariantSerializer<ListSerializer<'a>>, FormatError> {
        let outer = self.merges.replace(false);
        Ok(self.variant(variant, self.inside()?.list(Some(length), Some(Merge::Fixed))?, outer))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapSerializer<'a>, FormatError> {
        self.map()
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<MapSerializer<'a>, FormatError> {
        let mut map = self.map()?;
        map.merge = (name == types::ITEM).then_some(Merge::Item);
        Ok(map)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<VariantSerializer<MapSerializer<'a>>, FormatError> {
        let outer = self.merges.replace(false);
        Ok(self.variant(variant, self.inside()?.map()?, outer))
    }
}

/// Makes a value a register. A scalar already is one.
fn whole_of(value: Value) -> Value {
    match value {
        Value::As(_, value) => whole_of(*value),
        // A register is replaced as a whole, so it cannot add up concurrent increments.
        Value::Counter(count) => Value::Int(count),
        value @ (Value::List(_) | Value::Map(_) | Value::Text(_)) => Value::As(Merge::Whole, Box::new(value)),
        value => value,
    }
}
