//! Whether the client of convex-replicate 0.2 can write the documents of a type. That client sends each document also
//! as plain values (`materializedDoc`), and the official client refuses values that Convex does not have. From then on
//! every write of that page fails.
//!
//! The type's `Deserialize` is called without a value, as in [`shape`](super::shape()), once for each path through its
//! fields, elements and variants. A path ends at the first value that is no container.

use std::{
    any::type_name,
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::{self, DeserializeOwned, DeserializeSeed, Visitor};

use super::{FormatError, shape, types};
use crate::limits::FIELD_NAME_BYTES;
use sample::Sample;

mod sample;

/// The most paths that are followed. A type with more is refused, so that registration ends. An app's component has
/// some dozens.
const PATHS: usize = 10_000;

/// The advice for each refused value.
const SCALAR: &str = "an ImmutableString; use a String";
const UNSEEN: &str = "anything: only a value shows its form; use a struct with named fields";

/// Checks that documents of a `T` hold only what the official JavaScript client takes for a value.
///
/// # Errors
///
/// If a field of `T` can hold anything else. The message names the field.
pub(crate) fn check_web_compatible<T: DeserializeOwned>() -> Result<(), FormatError> {
    let refused = |path: &str, is: &str| {
        let place = if path.is_empty() { String::new() } else { format!("its field `{path}` ") };
        FormatError::new(format_args!(
            "the pages of convex-replicate 0.2 cannot write `{}`: in JavaScript, {place}is {is}. Or leave `web_compatible` out, and write \
             the pages as docs/web.md says",
            type_name::<T>()
        ))
    };
    if shape::<T>()?.fields.is_none() {
        return Err(refused("", UNSEEN));
    }
    let walk = Walk::default();
    for _ in 0..PATHS {
        walk.begin();
        // `T`'s own code runs without a value and may panic.
        let run =
            std::panic::AssertUnwindSafe(|| T::deserialize(Place { walk: &walk, asked: type_name::<T>() }).is_ok());
        if std::panic::catch_unwind(run).is_err() {
            walk.refuse(UNSEEN);
        }
        if let Some(is) = walk.found.take() {
            return Err(refused(&walk.path(), is));
        }
        if !walk.advance() {
            return Ok(());
        }
    }
    Err(refused("", "a value of too many forms to check; use fewer enums inside each other"))
}

/// One choice on a path: a field of a struct, an element of a tuple, or a variant of an enum.
struct Choice {
    chosen: usize,
    options: usize,
    label: String,
}

/// The present path through a type. A value cannot be taken back while it is deserialized, so each path begins anew.
#[derive(Default)]
struct Walk {
    choices: RefCell<Vec<Choice>>,
    /// The choices that were made in this run.
    made: Cell<usize>,
    /// The structs and enums around the present place, by the type that was asked for and their serde name: a type
    /// that contains itself is followed once.
    around: RefCell<Vec<(&'static str, &'static str)>>,
    found: Cell<Option<&'static str>>,
}

impl Walk {
    fn begin(&self) {
        self.made.set(0);
        self.around.borrow_mut().clear();
    }

    /// The next choice on the path: as in the run before, or the first option.
    fn choose(&self, options: usize, label: impl Fn(usize) -> String) -> usize {
        let mut choices = self.choices.borrow_mut();
        let at = self.made.replace(self.made.get() + 1);
        if at == choices.len() {
            choices.push(Choice { chosen: 0, options, label: String::new() });
        }
        let Choice { chosen, .. } = choices[at];
        choices[at].label = label(chosen);
        chosen
    }

    /// Goes to the next path. `false` if there is none.
    fn advance(&self) -> bool {
        let mut choices = self.choices.borrow_mut();
        choices.truncate(self.made.get());
        while let Some(last) = choices.last_mut() {
            if last.chosen + 1 < last.options {
                last.chosen += 1;
                return true;
            }
            choices.pop();
        }
        false
    }

    fn path(&self) -> String {
        let choices = self.choices.borrow();
        let labels = choices.iter().take(self.made.get()).map(|choice| choice.label.as_str());
        labels.collect::<Vec<_>>().join(".")
    }

    fn refuse(&self, is: &'static str) {
        self.found.set(Some(is));
    }

    /// Whether this type is entered for the first time on this path.
    fn enter(&self, asked: &'static str, name: &'static str) -> bool {
        let mut around = self.around.borrow_mut();
        let is_new = !around.contains(&(asked, name));
        around.push((asked, name));
        is_new
    }

    fn check_name(&self, name: &str) {
        if name.starts_with('$')
            || !name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            || name.len() > FIELD_NAME_BYTES
        {
            self.refuse("under a name that Convex does not store; rename it with `#[serde(rename = \"..\")]`");
        }
    }
}

/// The end of a path, which is an error because there is no value.
#[derive(Debug)]
struct End;

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type was deserialized without a value, to learn its form")
    }
}

impl std::error::Error for End {}

impl de::Error for End {
    fn custom<T: fmt::Display>(_: T) -> Self {
        End
    }
}

/// A place in a value that is not there.
#[derive(Clone, Copy)]
struct Place<'a> {
    walk: &'a Walk,
    /// The type that was last asked for.
    asked: &'static str,
}

impl Place<'_> {
    fn refuse<T>(self, is: &'static str) -> Result<T, End> {
        self.walk.refuse(is);
        Err(End)
    }
}

macro_rules! ends {
    ($($is:expr => $($method:ident)*;)*) => {
        $($(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, End> {
            match $is {
                Some(is) => self.refuse(is),
                None => Err(End),
            }
        })*)*
    };
}

impl<'de> de::Deserializer<'de> for Place<'_> {
    type Error = End;

    ends! {
        None::<&'static str> => deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
            deserialize_u8 deserialize_u16 deserialize_u32 deserialize_f32 deserialize_f64 deserialize_unit;
        Some("a BigInt of more than 63 bits; use an i64 or a u32") => deserialize_i128 deserialize_u64 deserialize_u128;
        // serde's own strings ask for an owned one. Types that are parsed from a string, and written as a scalar
        // string, ask for a borrowed one.
        Some(SCALAR) => deserialize_char deserialize_str deserialize_identifier;
        Some("a Uint8Array; use a list of numbers") => deserialize_bytes deserialize_byte_buf;
        Some("an object with keys that Convex may refuse (a `$` at the start, letters beyond ASCII); use a struct or a list")
            => deserialize_map;
        Some(UNSEEN) => deserialize_any deserialize_ignored_any;
    }

    fn deserialize_string<V: Visitor<'de>>(self, _: V) -> Result<V::Value, End> {
        // It asks for an owned string, and is written as a scalar one.
        match self.asked.contains("bevy_convex_replicate::format::keyed::item_key::ItemKey") {
            true => self.refuse(SCALAR),
            false => Err(End),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, End> {
        Err(End)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, End> {
        match name {
            types::COUNTER => self.refuse("a Counter; use a number, whose concurrent edits do not add up"),
            types::TIMESTAMP => self.refuse("a Date; use a number of milliseconds"),
            types::SCALAR => self.refuse(SCALAR),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        visitor.visit_seq(Elements { place: self, at: 0, chosen: 0 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, End> {
        if length == 0 {
            return Err(End);
        }
        let chosen = self.walk.choose(length, |at| at.to_string());
        visitor.visit_seq(Elements { place: self, at: 0, chosen })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, End> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        if fields.is_empty() || !self.walk.enter(self.asked, name) {
            return Err(End);
        }
        let chosen = self.walk.choose(fields.len(), |at| fields[at].to_owned());
        self.walk.check_name(fields[chosen]);
        visitor.visit_map(Field { place: self, name: fields[chosen], is_given: false })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        if variants.is_empty() || !self.walk.enter(self.asked, name) {
            return Err(End);
        }
        let chosen = self.walk.choose(variants.len(), |at| variants[at].to_owned());
        self.walk.check_name(variants[chosen]);
        visitor.visit_enum(Variant { place: self, name: variants[chosen] })
    }
}

/// The elements of a list or tuple. The chosen one is followed; those before it need a value.
struct Elements<'a> {
    place: Place<'a>,
    at: usize,
    chosen: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = End;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, End> {
        if self.at < self.chosen {
            self.at += 1;
            return seed.deserialize(Sample::default()).map(Some).or_else(|_| self.place.refuse(UNSEEN));
        }
        seed.deserialize(Place { asked: type_name::<S>(), ..self.place }).map(|_| ()).and(Err(End))
    }
}

/// A struct with one field.
struct Field<'a> {
    place: Place<'a>,
    name: &'static str,
    is_given: bool,
}

impl<'de> de::MapAccess<'de> for Field<'_> {
    type Error = End;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, End> {
        if std::mem::replace(&mut self.is_given, true) {
            return Ok(None);
        }
        seed.deserialize(de::value::BorrowedStrDeserializer::new(self.name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, End> {
        seed.deserialize(Place { asked: type_name::<S>(), ..self.place })
    }
}

/// A variant of an enum: a scalar string, or a map with the variant's content.
struct Variant<'a> {
    place: Place<'a>,
    name: &'static str,
}

impl<'de> de::EnumAccess<'de> for Variant<'_> {
    type Error = End;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), End> {
        Ok((seed.deserialize(de::value::BorrowedStrDeserializer::<End>::new(self.name))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_> {
    type Error = End;

    fn unit_variant(self) -> Result<(), End> {
        self.place
            .refuse("an ImmutableString where the enum's variant has no content; use a String, or give it content")
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, End> {
        seed.deserialize(Place { asked: type_name::<S>(), ..self.place })
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, End> {
        de::Deserializer::deserialize_tuple(self.place, length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, End> {
        de::Deserializer::deserialize_struct(self.place, self.name, fields, visitor)
    }
}

#[cfg(test)]
mod tests;
