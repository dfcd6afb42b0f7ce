//! Values of types that are described at run time, written and read as serde's derive does it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
};

use bevy_convex_replicate::format::{Bytes, Counter, KeyedList, Scalar, Timestamp, Whole};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        self, DeserializeSeed, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
    },
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
        SerializeTupleVariant,
    },
};

use crate::shape::{CONTENT, Content, Enum, Repr, Shape, Struct, TAG};

/// A value. Its shape gives its type.
#[derive(Clone, PartialEq)]
pub enum Val {
    Bool(bool),
    /// This also stands for a counter or a timestamp.
    Int(i64),
    Float(f64),
    /// This also stands for a letter or a scalar string.
    Text(String),
    Bytes(Vec<u8>),
    Option(Option<Box<Val>>),
    /// This also stands for a tuple, or a struct with its fields in order.
    List(Vec<Val>),
    Map(BTreeMap<String, Val>),
    Variant(usize, Vec<Val>),
    /// The only content of a variant with `#[serde(other)]`, if [`with_unknown`] read it: what the document holds.
    Unknown(String),
    Keyed(KeyedList<Typed>),
}

impl fmt::Debug for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Val::Bool(yes) => yes.fmt(f),
            Val::Int(number) => number.fmt(f),
            Val::Float(number) => number.fmt(f),
            Val::Text(text) => text.fmt(f),
            Val::Bytes(bytes) => write!(f, "b{bytes:?}"),
            Val::Option(held) => held.fmt(f),
            Val::List(items) => items.fmt(f),
            Val::Map(entries) => entries.fmt(f),
            Val::Variant(variant, content) => write!(f, "#{variant}{content:?}"),
            Val::Unknown(content) => f.write_str(content),
            Val::Keyed(list) => f.debug_map().entries(list.iter().map(|(key, item)| (key, &item.val))).finish(),
        }
    }
}

/// A value with its shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Typed {
    pub shape: Shape,
    pub val: Val,
}

thread_local! {
    /// The shape of the next [`Typed`] that is read. A `Deserialize` has no other way to receive it.
    static CURRENT: RefCell<Vec<Shape>> = const { RefCell::new(Vec::new()) };
    /// Whether reading keeps the content of variants that the shape does not know.
    static KEEPS_UNKNOWN: Cell<bool> = const { Cell::new(false) };
}

/// Lets `read` read different variants that the shape does not know as different values. An app of an old version shows
/// all of them as the variant with `#[serde(other)]`, but a change from one to another is a change of the document.
pub fn with_unknown<R>(read: impl FnOnce() -> R) -> R {
    KEEPS_UNKNOWN.set(true);
    let result = read();
    KEEPS_UNKNOWN.set(false);
    result
}

/// Reads `read` with [`Typed`] standing for `shape`.
pub fn as_shape<R>(shape: &Shape, read: impl FnOnce() -> R) -> R {
    CURRENT.with_borrow_mut(|current| current.push(shape.clone()));
    let result = read();
    CURRENT.with_borrow_mut(|current| current.pop());
    result
}

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let shape = CURRENT.with_borrow(|current| current.last().cloned());
        let shape = shape.ok_or_else(|| D::Error::custom("no shape was given"))?;
        let val = Seed(&shape).deserialize(deserializer)?;
        Ok(Typed { shape, val })
    }
}

impl Serialize for Typed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Of(&self.shape, &self.val).serialize(serializer)
    }
}

struct Of<'a>(&'a Shape, &'a Val);

impl Serialize for Of<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0, self.1) {
            (Shape::Bool, Val::Bool(yes)) => yes.serialize(serializer),
            (Shape::Int, Val::Int(number)) => number.serialize(serializer),
            (Shape::Float, Val::Float(number)) => number.serialize(serializer),
            (Shape::Char, Val::Text(text)) => text.chars().next().unwrap_or('-').serialize(serializer),
            (Shape::Text, Val::Text(text)) => text.serialize(serializer),
            (Shape::Scalar, Val::Text(text)) => Scalar(text).serialize(serializer),
            (Shape::Counter, Val::Int(number)) => Counter(*number).serialize(serializer),
            (Shape::Timestamp, Val::Int(number)) => Timestamp(*number).serialize(serializer),
            (Shape::Bytes, Val::Bytes(bytes)) => Bytes(bytes.clone()).serialize(serializer),
            (Shape::Option(inner), Val::Option(held)) => match held {
                Some(held) => serializer.serialize_some(&Of(inner, held)),
                None => serializer.serialize_none(),
            },
            (Shape::List(inner), Val::List(items)) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(&Of(inner, item)))?;
                list.end()
            }
            (Shape::Map(inner), Val::Map(entries)) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, item)| map.serialize_entry(key, &Of(inner, item)))?;
                map.end()
            }
            (Shape::Keyed(_), Val::Keyed(list)) => list.serialize(serializer),
            (Shape::Tuple(shapes), Val::List(items)) => {
                let mut tuple = serializer.serialize_tuple(items.len())?;
                shapes.iter().zip(items).try_for_each(|(shape, item)| tuple.serialize_element(&Of(shape, item)))?;
                tuple.end()
            }
            (Shape::TupleStruct(shapes), Val::List(items)) => {
                let mut tuple = serializer.serialize_tuple_struct("TupleStruct", items.len())?;
                shapes.iter().zip(items).try_for_each(|(shape, item)| tuple.serialize_field(&Of(shape, item)))?;
                tuple.end()
            }
            (Shape::Whole(inner), val) => Whole(Of(inner, val)).serialize(serializer),
            (Shape::Newtype(inner), val) => serializer.serialize_newtype_struct("Newtype", &Of(inner, val)),
            (Shape::Struct(inner), Val::List(items)) => {
                let mut fields = serializer.serialize_struct("Struct", items.len())?;
                write_fields(&mut fields, inner, items)?;
                fields.end()
            }
            (Shape::Enum(inner), Val::Variant(variant, content)) => write_enum(serializer, inner, *variant, content),
            (shape, val) => Err(serde::ser::Error::custom(format_args!("{val:?} is not a value of {shape}"))),
        }
    }
}

fn is_left_out(shape: &Struct, index: usize, item: &Val) -> bool {
    let field = &shape.fields[index];
    field.skip || field.skip_if && field.default.as_ref() == Some(item)
}

fn write_fields<S: SerializeStruct>(to: &mut S, shape: &Struct, items: &[Val]) -> Result<(), S::Error> {
    for (index, item) in items.iter().enumerate() {
        let field = &shape.fields[index];
        match is_left_out(shape, index, item) {
            true => to.skip_field(field.name)?,
            false => to.serialize_field(field.name, &Of(&field.shape, item))?,
        }
    }
    Ok(())
}

/// The content of a variant.
struct ContentOf<'a>(&'a Content, &'a [Val]);

impl Serialize for ContentOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Content::Unit => serializer.serialize_unit(),
            Content::Newtype(shape) => Of(shape, &self.1[0]).serialize(serializer),
            Content::Tuple(shapes) => {
                let mut tuple = serializer.serialize_tuple(self.1.len())?;
                shapes.iter().zip(self.1).try_for_each(|(shape, item)| tuple.serialize_element(&Of(shape, item)))?;
                tuple.end()
            }
            Content::Struct(shape) => {
                let mut fields = serializer.serialize_struct("Variant", self.1.len())?;
                write_fields(&mut fields, shape, self.1)?;
                fields.end()
            }
        }
    }
}

/// The tag of an adjacently tagged enum. The format recognises it by the name that serde gives this type.
struct AdjacentlyTaggedEnumVariant(u32, &'static str);

impl Serialize for AdjacentlyTaggedEnumVariant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit_variant("Enum", self.0, self.1)
    }
}

fn write_enum<S: Serializer>(serializer: S, shape: &Enum, index: usize, items: &[Val]) -> Result<S::Ok, S::Error> {
    let variant = &shape.variants[index];
    let (name, number) = (variant.name, index as u32);
    match (shape.repr, &variant.content) {
        (Repr::Untagged, content) => ContentOf(content, items).serialize(serializer),
        (Repr::External, Content::Unit) => serializer.serialize_unit_variant("Enum", number, name),
        (Repr::External, Content::Newtype(inner)) => {
            serializer.serialize_newtype_variant("Enum", number, name, &Of(inner, &items[0]))
        }
        (Repr::External, Content::Tuple(shapes)) => {
            let mut tuple = serializer.serialize_tuple_variant("Enum", number, name, items.len())?;
            shapes.iter().zip(items).try_for_each(|(shape, item)| tuple.serialize_field(&Of(shape, item)))?;
            tuple.end()
        }
        (Repr::External, Content::Struct(inner)) => {
            let mut fields = serializer.serialize_struct_variant("Enum", number, name, items.len())?;
            for (index, item) in items.iter().enumerate() {
                let field = &inner.fields[index];
                match is_left_out(inner, index, item) {
                    true => fields.skip_field(field.name)?,
                    false => fields.serialize_field(field.name, &Of(&field.shape, item))?,
                }
            }
            fields.end()
        }
        (Repr::Internal, content) => {
            let inner = match content {
                Content::Struct(inner) => Some((&**inner, items)),
                Content::Newtype(Shape::Struct(inner)) => match &items[0] {
                    Val::List(items) => Some((&**inner, items.as_slice())),
                    _ => None,
                },
                _ => None,
            };
            let mut fields = serializer.serialize_struct("Enum", 1 + inner.map_or(0, |(_, items)| items.len()))?;
            fields.serialize_field(TAG, name)?;
            if let Some((inner, items)) = inner {
                write_fields(&mut fields, inner, items)?;
            }
            fields.end()
        }
        (Repr::Adjacent, content) => {
            let has_content = !matches!(content, Content::Unit);
            let mut fields = serializer.serialize_struct("Enum", 1 + usize::from(has_content))?;
            fields.serialize_field(TAG, &AdjacentlyTaggedEnumVariant(number, name))?;
            if has_content {
                fields.serialize_field(CONTENT, &ContentOf(content, items))?;
            }
            fields.end()
        }
    }
}

impl Val {
    /// The value that an app shows of a value that [`with_unknown`] read.
    fn shown(&self) -> Val {
        let all = |items: &[Val]| items.iter().map(Val::shown).collect();
        match self {
            Val::Option(Some(held)) => Val::Option(Some(held.shown().into())),
            Val::List(items) => Val::List(all(items)),
            Val::Map(entries) => Val::Map(entries.iter().map(|(key, item)| (key.clone(), item.shown())).collect()),
            Val::Variant(variant, content) => match content.as_slice() {
                [Val::Unknown(_)] => Val::Variant(*variant, Vec::new()),
                content => Val::Variant(*variant, all(content)),
            },
            Val::Keyed(list) => {
                let mut list = list.clone();
                list.values_mut().for_each(|item| item.val = item.val.shown());
                Val::Keyed(list)
            }
            leaf => leaf.clone(),
        }
    }

    /// This value, which an app shows, with the unknown variants that `base` has at the same places. An app that still
    /// shows an unknown variant has not changed it.
    pub fn with_unknown_of(&self, base: &Val) -> Val {
        if base.shown() == *self {
            return base.clone();
        }
        let all = |items: &[Val], bases: &[Val]| -> Vec<Val> {
            // The fields of a struct stay where they are.
            let is_moved = |item: &Val| items.len() != bases.len() || matches!(item, Val::List(_));
            let items = items.iter().enumerate().map(|(index, item)| {
                let here = bases.get(index);
                let elsewhere = || bases.iter().find(|base| is_moved(item) && base.shown() == *item);
                let base = here.filter(|base| base.shown() == *item).or_else(elsewhere).or(here);
                base.map_or_else(|| item.clone(), |base| item.with_unknown_of(base))
            });
            items.collect()
        };
        match (self, base) {
            (Val::Option(Some(held)), Val::Option(Some(base))) => Val::Option(Some(held.with_unknown_of(base).into())),
            (Val::List(items), Val::List(bases)) => Val::List(all(items, bases)),
            (Val::Variant(variant, content), Val::Variant(of, bases)) if variant == of => {
                Val::Variant(*variant, all(content, bases))
            }
            (Val::Map(entries), Val::Map(bases)) => {
                let entries = entries.iter().map(|(key, item)| {
                    let item = bases.get(key).map_or_else(|| item.clone(), |base| item.with_unknown_of(base));
                    (key.clone(), item)
                });
                Val::Map(entries.collect())
            }
            (Val::Keyed(list), Val::Keyed(bases)) => {
                let mut list = list.clone();
                for (key, base) in bases.iter() {
                    if let Some(item) = list.get_mut(key) {
                        item.val = item.val.with_unknown_of(&base.val);
                    }
                }
                Val::Keyed(list)
            }
            (val, _) => val.clone(),
        }
    }
}

/// Reads a value of a shape.
#[derive(Clone, Copy)]
pub struct Seed<'a>(pub &'a Shape);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Val, D::Error> {
        Ok(match self.0 {
            Shape::Bool => Val::Bool(bool::deserialize(d)?),
            Shape::Int => Val::Int(i64::deserialize(d)?),
            Shape::Float => Val::Float(f64::deserialize(d)?),
            Shape::Char => Val::Text(char::deserialize(d)?.into()),
            Shape::Text => Val::Text(String::deserialize(d)?),
            Shape::Scalar => Val::Text(Scalar::<String>::deserialize(d)?.0),
            Shape::Counter => Val::Int(Counter::deserialize(d)?.0),
            Shape::Timestamp => Val::Int(Timestamp::deserialize(d)?.0),
            Shape::Bytes => Val::Bytes(Bytes::deserialize(d)?.0),
            Shape::Option(inner) => return d.deserialize_option(OptionVisitor(inner)),
            Shape::List(inner) => return d.deserialize_seq(ListVisitor(inner)),
            Shape::Map(inner) => return d.deserialize_map(MapVisitor(inner)),
            Shape::Keyed(inner) => Val::Keyed(as_shape(inner, || KeyedList::deserialize(d))?),
            Shape::Tuple(shapes) => return d.deserialize_tuple(shapes.len(), TupleVisitor(shapes)),
            Shape::TupleStruct(shapes) => {
                return d.deserialize_tuple_struct("TupleStruct", shapes.len(), TupleVisitor(shapes));
            }
            Shape::Whole(inner) => {
                return Ok(as_shape(inner, || Whole::<Typed>::deserialize(d))?.0.val);
            }
            Shape::Newtype(inner) => return d.deserialize_newtype_struct("Newtype", NewtypeVisitor(inner)),
            Shape::Struct(inner) => Val::List(d.deserialize_struct("Struct", inner.names, StructVisitor(inner))?),
            Shape::Enum(inner) => return read_enum(d, inner),
        })
    }
}

macro_rules! visitors {
    ($($name:ident($of:ty) -> $value:ty { $($body:tt)* })*) => {
        $(
            struct $name<'a>(&'a $of);

            impl<'de> Visitor<'de> for $name<'_> {
                type Value = $value;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(stringify!($name))
                }

                $($body)*
            }
        )*
    };
}

visitors! {
    OptionVisitor(Shape) -> Val {
        fn visit_none<E>(self) -> Result<Val, E> {
            Ok(Val::Option(None))
        }

        fn visit_unit<E>(self) -> Result<Val, E> {
            Ok(Val::Option(None))
        }

        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Val, D::Error> {
            Ok(Val::Option(Some(Seed(self.0).deserialize(d)?.into())))
        }
    }

    ListVisitor(Shape) -> Val {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Val, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element_seed(Seed(self.0))? {
                items.push(item);
            }
            Ok(Val::List(items))
        }
    }

    MapVisitor(Shape) -> Val {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Val, A::Error> {
            let mut entries = BTreeMap::new();
            while let Some(key) = map.next_key()? {
                entries.insert(key, map.next_value_seed(Seed(self.0))?);
            }
            Ok(Val::Map(entries))
        }
    }

    NewtypeVisitor(Shape) -> Val {
        fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Val, D::Error> {
            Seed(self.0).deserialize(d)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Val, A::Error> {
            seq.next_element_seed(Seed(self.0))?.ok_or_else(|| A::Error::invalid_length(0, &self))
        }
    }

    TupleVisitor([Shape]) -> Val {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Val, A::Error> {
            let mut items = Vec::new();
            for shape in self.0 {
                let item = seq.next_element_seed(Seed(shape))?;
                items.push(item.ok_or_else(|| A::Error::invalid_length(items.len(), &self))?);
            }
            Ok(Val::List(items))
        }
    }

    StructVisitor(Struct) -> Vec<Val> {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Val>, A::Error> {
            let mut items: Vec<Option<Val>> = vec![None; self.0.fields.len()];
            while let Some(key) = map.next_key::<String>()? {
                match self.0.find(&key) {
                    Some(index) if items[index].is_some() => {
                        return Err(A::Error::duplicate_field(self.0.fields[index].name));
                    }
                    Some(index) => items[index] = Some(map.next_value_seed(Seed(&self.0.fields[index].shape))?),
                    None => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            let fields = self.0.fields.iter().zip(items);
            fields
                .map(|(field, item)| match (item, &field.default, &field.shape) {
                    (Some(item), ..) => Ok(item),
                    (None, Some(item), _) => Ok(item.clone()),
                    (None, None, Shape::Option(_)) => Ok(Val::Option(None)),
                    (None, None, _) => Err(A::Error::missing_field(field.name)),
                })
                .collect()
        }
    }

    EnumVisitor(Enum) -> Val {
        fn visit_enum<A: de::EnumAccess<'de>>(self, access: A) -> Result<Val, A::Error> {
            let (name, content) = access.variant::<String>()?;
            let variant = variant::<A::Error>(self.0, &name)?;
            let items = match &self.0.variants[variant].content {
                Content::Unit => {
                    content.unit_variant()?;
                    let is_known = self.0.variants[variant].name == name;
                    match KEEPS_UNKNOWN.get() && !is_known {
                        true => vec![Val::Unknown(name)],
                        false => Vec::new(),
                    }
                }
                Content::Newtype(shape) => vec![content.newtype_variant_seed(Seed(shape))?],
                Content::Tuple(shapes) => match content.tuple_variant(shapes.len(), TupleVisitor(shapes))? {
                    Val::List(items) => items,
                    other => vec![other],
                },
                Content::Struct(inner) => content.struct_variant(inner.names, StructVisitor(inner))?,
            };
            Ok(Val::Variant(variant, items))
        }
    }
}

fn variant<E: de::Error>(shape: &Enum, name: &str) -> Result<usize, E> {
    match shape.variants.iter().position(|variant| variant.name == name) {
        Some(variant) => Ok(variant),
        None if shape.other => Ok(shape.variants.len() - 1),
        None => Err(E::unknown_variant(name, shape.names)),
    }
}

/// The content of a variant from serde's buffer. JSON serves as the buffer here.
fn read_content<E: de::Error>(content: &Content, buffered: serde_json::Value) -> Result<Vec<Val>, E> {
    let d = buffered.into_deserializer();
    match content {
        Content::Unit => Ok(Vec::new()),
        Content::Newtype(shape) => Seed(shape).deserialize(d).map(|val| vec![val]),
        Content::Tuple(shapes) => match d.deserialize_tuple(shapes.len(), TupleVisitor(shapes)) {
            Ok(Val::List(items)) => Ok(items),
            Ok(other) => Ok(vec![other]),
            Err(error) => Err(error),
        },
        Content::Struct(inner) => d.deserialize_struct("Variant", inner.names, StructVisitor(inner)),
    }
    .map_err(|error: serde_json::Error| E::custom(error))
}

fn read_enum<'de, D: Deserializer<'de>>(d: D, shape: &Enum) -> Result<Val, D::Error> {
    match shape.repr {
        Repr::External => d.deserialize_enum("Enum", shape.names, EnumVisitor(shape)),
        Repr::Internal | Repr::Adjacent => {
            let serde_json::Value::Object(mut fields) = serde_json::Value::deserialize(d)? else {
                return Err(D::Error::custom("a tagged enum must be a map"));
            };
            let held = KEEPS_UNKNOWN.get().then(|| serde_json::Value::Object(fields.clone()).to_string());
            let tag = fields.remove(TAG).ok_or_else(|| D::Error::missing_field(TAG))?;
            let tag = tag.as_str().unwrap_or_default();
            let index = variant::<D::Error>(shape, tag)?;
            if let Some(held) = held.filter(|_| shape.variants[index].name != tag) {
                return Ok(Val::Variant(index, vec![Val::Unknown(held)]));
            }
            let content = &shape.variants[index].content;
            let buffered = match (shape.repr, content) {
                (_, Content::Unit) => serde_json::Value::Null,
                (Repr::Adjacent, _) => fields.remove(CONTENT).ok_or_else(|| D::Error::missing_field(CONTENT))?,
                _ => serde_json::Value::Object(fields),
            };
            Ok(Val::Variant(index, read_content(content, buffered)?))
        }
        Repr::Untagged => {
            let buffered = serde_json::Value::deserialize(d)?;
            for (index, variant) in shape.variants.iter().enumerate() {
                if let Ok(items) = read_content::<serde_json::Error>(&variant.content, buffered.clone()) {
                    return Ok(Val::Variant(index, items));
                }
            }
            Err(D::Error::custom("it fits no variant of an untagged enum"))
        }
    }
}
