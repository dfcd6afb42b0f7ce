//! Serde value <-> Automerge document.
//!
//! [`to_value`] and [`from_value`] turn a component into a [`Value`] and back; [`read`] materializes a document
//! (at a version, if it is isolated there) and [`edit`] makes the smallest change that turns the view an app had into the
//! value it has now. Nothing here is stateful: an edit is (view, value) and the document it is made in.
//!
//! # What becomes what
//!
//! The documents are those that Automerge's JavaScript library writes.
//!
//! | Rust | document | JavaScript | concurrent edits |
//! | --- | --- | --- | --- |
//! | `String` | text | `string` | merge letter by letter |
//! | [`Scalar`], unit variants, tags, `char`, what serde formats (`collect_str`) | scalar string | `ImmutableString` | one wins |
//! | integers, floats, `bool` | number, boolean | `number`, `boolean` | one wins |
//! | [`Counter`] | counter | `Counter` | add up |
//! | [`Timestamp`] | timestamp | `Date` | one wins |
//! | [`Bytes`], `serde_bytes` | bytes | `Uint8Array` | one wins |
//! | `None`, `()` | null | `null` | one wins |
//! | structs, maps | map | object | merge key by key |
//! | [`KeyedList`] | map of items | object | items added, moved and edited by both |
//! | `Vec` | list | array | insertions and deletions merge, and items that stay merge in themselves |
//! | arrays, tuples | list of fixed length | array | merge item by item, in place |
//! | tuple structs, [`Whole`] | the value inside | the value inside | one wins |
//! | enums | as serde says | as serde says | one variant wins, with its content; texts, lists, maps and counters in it merge |
//!
//! Readers accept more than writers write: any kind of number that fits without loss, either kind of string, bytes for a
//! list of numbers, and a missing key for `None` or serde's default. What is equal already is not written, in whatever words
//! it is there, and a counter or a timestamp stays one when a type writes it as a plain number.
//!
//! - Items of a list that have a field `id` or `key` are recognised by it when the list is edited, others by their place.
//! - A set that is not sorted (`HashSet`) has another order each time it is read, and an edit would write that order:
//!   use a `BTreeSet`.
//! - A document that is an enum, and a flattened enum, cannot be replaced as one: fields that their variants share must
//!   have one type.
//!
//! A document of a `Value` does not say which of these a type has written. [`to_value`] notes it in the value
//! ([`Merge`]). A text, list, map or counter that two apps may be the first to make is made by a change of its own
//! (`place.rs`). The laws that all of it follows are in docs/format.md.

mod deserialize;
mod edit;
mod entity;
mod error;
mod first;
mod guarded;
mod json;
mod keepable;
mod key;
mod keyed;
mod list;
mod path;
mod place;
pub mod position;
mod read;
mod register;
mod serialize;
mod shape;
mod text;
mod types;
mod value;

pub use deserialize::{from_document, from_value};
pub(crate) use edit::{Aliases, LeftOut, Options, Outcome, edit_with};
pub use edit::{Edited, create, edit};
pub use error::FormatError;
pub(crate) use first::{FirstChange, read_first, write_first};
pub(crate) use guarded::guarded_type;
pub(crate) use keepable::check as check_keepable;
pub use keyed::{ItemKey, KeyedList};
pub(crate) use place::{PlaceChange, first_changes, is_place_change, prepare};
#[cfg(feature = "backend")]
pub(crate) use read::read_levels;
pub use read::{conflicts, read};
pub use serialize::to_value;
pub use shape::{Shape, shape};
pub use types::{Bytes, Counter, Scalar, Timestamp, Whole};
#[cfg(feature = "backend")]
pub(crate) use value::plain_integer;
pub use value::{Merge, Value};

/// The root field that says what a document is called. The replica writes it.
pub const ID: &str = "id";
/// The root field that makes a document a tombstone. The replica writes it.
pub const DELETED: &str = "deleted";
/// The root fields that are the document's own.
pub const RESERVED: [&str; 2] = [ID, DELETED];
/// Columns that a document's row in the backend's table has beside its fields, so that no component may have a field called so either.
pub const ROW_COLUMNS: [&str; 3] = ["version", "timestamp", NOT_IN_ROW];
/// The column that names the values of the document which the row lacks, because the table cannot hold them.
pub const NOT_IN_ROW: &str = "notInRow";
