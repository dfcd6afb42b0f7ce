//! A component, as serde writes it, into a [`Value`].

use std::{any::type_name, cell::Cell, collections::BTreeMap, fmt::Display};

use serde::{Serialize, ser};

use super::{FormatError, Merge, Value, entity, key::KeySerializer, types};
use crate::limits::NESTING;

/// What a document holds for `value`: strings become texts, unit variants scalar strings, structs maps and so on.
///
/// # Errors
///
/// If it cannot be a document: keys that are not strings, numbers that do not fit, too deep nesting.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, FormatError> {
    let adds = Cell::new(false);
    value.serialize(ValueSerializer { depth: 0, adds: &adds })
}

/// Writes one value at some depth.
#[derive(Clone, Copy)]
struct ValueSerializer<'a> {
    /// How many lists and maps it is in.
    depth: usize,
    /// Whether what was written so far holds something that several people can add to: a text, a list, a map of entries
    /// or a counter.
    adds: &'a Cell<bool>,
}

impl<'a> ValueSerializer<'a> {
    /// For what is inside a list or map here.
    fn inside(self) -> Result<Self, FormatError> {
        if self.depth >= NESTING {
            return Err(FormatError::new(format_args!(
                "nested deeper than {NESTING} levels, which is the most that can be sent"
            )));
        }
        Ok(ValueSerializer { depth: self.depth + 1, ..self })
    }

    /// Notes that this can be added to.
    fn added_to(self, value: Value) -> Value {
        self.adds.set(true);
        value
    }

    fn list(self, length: Option<usize>, merge: Option<Merge>) -> Result<ListSerializer<'a>, FormatError> {
        // The length is a hint: it is not believed beyond the ordinary.
        let items = Vec::with_capacity(length.unwrap_or(0).min(1024));
        Ok(ListSerializer { inside: self.inside()?, items, merge })
    }

    fn map(self) -> Result<MapSerializer<'a>, FormatError> {
        let outer = self.adds.replace(false);
        let inside = self.inside()?;
        Ok(MapSerializer { inside, fields: BTreeMap::new(), key: None, tag: None, merge: None, outer })
    }

    fn variant<S>(self, variant: &'static str, content: S, outer: bool) -> Variant<S> {
        Variant { variant, content, outer }
    }

    /// Whether the value written since `outer` was noted can be added to. If it can, so can the value that it is part of.
    fn take_adds(self, outer: bool) -> bool {
        let adds = self.adds.get();
        self.adds.set(adds || outer);
        adds
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
    type SerializeTupleVariant = Variant<ListSerializer<'a>>;
    type SerializeMap = MapSerializer<'a>;
    type SerializeStruct = MapSerializer<'a>;
    type SerializeStructVariant = Variant<MapSerializer<'a>>;

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

    /// A letter is replaced whole: two merged into one text would not be one letter.
    fn serialize_char(self, letter: char) -> Result<Value, FormatError> {
        Ok(Value::Scalar(letter.to_string()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, FormatError> {
        Ok(self.added_to(Value::Text(text.to_owned())))
    }

    /// What is formatted, such as a date or an address, is not typed letter by letter.
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
        let outer = self.adds.get();
        let value = value.serialize(self)?;
        Ok(match (name, value) {
            (types::COUNTER, Value::Int(number)) => self.added_to(Value::Counter(number)),
            (types::TIMESTAMP, Value::Int(number)) => Value::Timestamp(number),
            (types::SCALAR, Value::Text(text)) => {
                self.adds.set(outer);
                Value::Scalar(text)
            }
            (types::WHOLE, value) => {
                self.adds.set(outer);
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
        let outer = self.adds.replace(false);
        let value = value.serialize(self.inside()?).map_err(|error| error.in_field(variant))?;
        Ok(of_variant(variant, value, self.take_adds(outer)))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListSerializer<'a>, FormatError> {
        self.adds.set(true);
        self.list(length, None)
    }

    fn serialize_tuple(self, length: usize) -> Result<ListSerializer<'a>, FormatError> {
        self.list(Some(length), Some(Merge::Fixed))
    }

    /// A vector, a quaternion: its numbers say something together alone.
    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<ListSerializer<'a>, FormatError> {
        self.list(Some(length), Some(Merge::Whole))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Variant<ListSerializer<'a>>, FormatError> {
        let outer = self.adds.replace(false);
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
    ) -> Result<Variant<MapSerializer<'a>>, FormatError> {
        let outer = self.adds.replace(false);
        Ok(self.variant(variant, self.inside()?.map()?, outer))
    }
}

fn of_variant(variant: &str, value: Value, merges: bool) -> Value {
    let merge = Merge::Variant { name: variant.to_owned(), merges };
    Value::As(merge, Box::new(Value::Map(BTreeMap::from([(variant.to_owned(), value)]))))
}

/// A register of this value. A scalar is one already.
fn whole_of(value: Value) -> Value {
    match value {
        Value::As(_, value) => whole_of(*value),
        // What is replaced does not add up.
        Value::Counter(count) => Value::Int(count),
        value @ (Value::List(_) | Value::Map(_) | Value::Text(_)) => Value::As(Merge::Whole, Box::new(value)),
        value => value,
    }
}

struct ListSerializer<'a> {
    inside: ValueSerializer<'a>,
    items: Vec<Value>,
    merge: Option<Merge>,
}

impl ListSerializer<'_> {
    fn finish(self) -> Value {
        let items = Value::List(self.items);
        match self.merge {
            Some(merge) => Value::As(merge, Box::new(items)),
            None => items,
        }
    }

    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        entity::refuse::<T>().map_err(|error| error.in_item(self.items.len()))?;
        let item = item.serialize(self.inside).map_err(|error| error.in_item(self.items.len()))?;
        self.items.push(item);
        Ok(())
    }
}

impl ser::SerializeSeq for ListSerializer<'_> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.item(item)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(self.finish())
    }
}

impl ser::SerializeTuple for ListSerializer<'_> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.item(item)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleStruct for ListSerializer<'_> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.item(item)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(self.finish())
    }
}

struct MapSerializer<'a> {
    inside: ValueSerializer<'a>,
    fields: BTreeMap<String, Value>,
    key: Option<String>,
    tag: Option<Tag>,
    /// How a struct merges, if not as others.
    merge: Option<Merge>,
    /// What was known of the value this is in when it began.
    outer: bool,
}

/// The tag of a variant that is written as a map.
struct Tag {
    key: String,
    name: String,
    /// The fields after it.
    content: Vec<String>,
}

/// The tag of an internally tagged enum is written as a bare `str`, which no field of a struct can be.
fn is_internal_tag<T: ?Sized>() -> bool {
    type_name::<T>() == type_name::<str>()
}

/// The tag of an adjacently tagged enum is written as this type of serde's.
fn is_adjacent_tag<T: ?Sized>() -> bool {
    type_name::<T>().ends_with("::AdjacentlyTaggedEnumVariant")
}

impl MapSerializer<'_> {
    fn field<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), FormatError> {
        entity::refuse::<T>().map_err(|error| error.in_field(&key))?;
        let adds = self.inside.adds.get();
        let value = match value.serialize(self.inside) {
            // It is the variant's name and as such replaced whole: a merge of two names letter by letter would be
            // neither.
            Ok(Value::Text(tag)) if is_internal_tag::<T>() => {
                self.inside.adds.set(adds);
                Value::Scalar(tag)
            }
            Ok(value) => value,
            Err(error) => return Err(error.in_field(&key)),
        };
        match (&mut self.tag, &value) {
            (Some(tag), _) => tag.content.push(key.clone()),
            (None, Value::Scalar(name)) if is_internal_tag::<T>() || is_adjacent_tag::<T>() => {
                self.tag = Some(Tag { key: key.clone(), name: name.clone(), content: Vec::new() });
            }
            _ => {}
        }
        self.fields.insert(key, value);
        Ok(())
    }

    /// A struct, or a variant that is written as one.
    fn finish_struct(self) -> Value {
        let adds = self.inside.take_adds(self.outer);
        let fields = Value::Map(self.fields);
        match self.tag {
            None => match self.merge {
                Some(merge) => Value::As(merge, Box::new(fields)),
                None => fields,
            },
            // A document cannot be replaced as one.
            Some(tag) if self.inside.depth == 1 => tag.tagged(fields),
            Some(tag) => Value::As(Merge::Variant { name: tag.name, merges: adds }, Box::new(fields)),
        }
    }

    /// A map of entries, or a struct with a flattened part.
    fn finish_map(self) -> Value {
        self.inside.adds.set(true);
        let fields = Value::Map(self.fields);
        match self.tag {
            None => Value::As(Merge::Entries, Box::new(fields)),
            Some(tag) => tag.tagged(fields),
        }
    }
}

impl Tag {
    fn tagged(self, fields: Value) -> Value {
        Value::As(Merge::Tagged { tag: self.key, name: self.name, content: self.content }, Box::new(fields))
    }
}

impl ser::SerializeMap for MapSerializer<'_> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), FormatError> {
        entity::refuse::<T>()?;
        self.key = Some(key.serialize(KeySerializer)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), FormatError> {
        let key = self.key.take().ok_or_else(|| FormatError::new("a map's value was written before its key"))?;
        self.field(key, value)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(self.finish_map())
    }
}

impl ser::SerializeStruct for MapSerializer<'_> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), FormatError> {
        self.field(key.to_owned(), value)
    }

    fn skip_field(&mut self, _: &'static str) -> Result<(), FormatError> {
        self.inside.adds.set(true);
        self.merge.get_or_insert(Merge::Partial);
        Ok(())
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(self.finish_struct())
    }
}

/// The content of an externally tagged variant.
struct Variant<S> {
    variant: &'static str,
    content: S,
    /// What was known of the value this is in when it began.
    outer: bool,
}

impl ser::SerializeTupleVariant for Variant<ListSerializer<'_>> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.content.item(item).map_err(|error| error.in_field(self.variant))
    }

    fn end(self) -> Result<Value, FormatError> {
        let merges = self.content.inside.take_adds(self.outer);
        Ok(of_variant(self.variant, self.content.finish(), merges))
    }
}

impl ser::SerializeStructVariant for Variant<MapSerializer<'_>> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), FormatError> {
        self.content.field(key.to_owned(), value).map_err(|error| error.in_field(self.variant))
    }

    fn end(self) -> Result<Value, FormatError> {
        let merges = self.content.inside.take_adds(self.outer);
        Ok(of_variant(self.variant, Value::Map(self.content.fields), merges))
    }
}
