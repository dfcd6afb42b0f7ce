use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check_web_compatible;
use crate::{
    DocumentId,
    format::{Bytes, Counter, ItemKey, KeyedList, Scalar, Timestamp, Whole},
};

#[derive(Serialize, Deserialize)]
enum Unit {
    #[allow(dead_code, reason = "only its form counts")]
    Red,
}

#[derive(Serialize, Deserialize)]
enum Content {
    Text(String),
    Pair(u8, f32),
    Box { width: u32 },
}

#[derive(Serialize, Deserialize)]
enum Deep {
    Fine(u8),
    Pair(u8, Counter),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    One { size: u8 },
}

#[derive(Serialize, Deserialize)]
struct Wrapper<T> {
    inner: T,
}

#[derive(Serialize, Deserialize)]
struct Tree {
    name: String,
    children: Vec<Tree>,
    best: Option<Box<Tree>>,
}

#[derive(Serialize, Deserialize)]
struct Foreign {
    #[serde(rename = "größe")]
    size: u8,
}

#[derive(Serialize, Deserialize)]
struct Name(String);

macro_rules! check {
    ($($type:ty => $expected:expr;)*) => {$(
        {
            #[derive(Serialize, Deserialize)]
            struct Page {
                before: String,
                field: $type,
            }
            let expected: Option<(&str, &str)> = $expected;
            let checked = check_web_compatible::<Page>();
            match (expected, &checked) {
                (None, Ok(())) => {}
                (Some((path, is)), Err(error)) => {
                    let place = format!("its field `{path}` is {is}");
                    assert!(error.message.contains(&place), "{}: {error}", stringify!($type));
                }
                _ => panic!("{}: {checked:?}", stringify!($type)),
            }
        }
    )*};
}

#[test]
fn a_type_that_pages_of_the_original_library_can_write_is_accepted() {
    check! {
        bool => None;
        i64 => None;
        u32 => None;
        f32 => None;
        () => None;
        Name => None;
        Option<String> => None;
        Vec<Vec<f64>> => None;
        [u8; 3] => None;
        (u8, String, Option<bool>, Vec<String>, Wrapper<u8>, Content) => None;
        Whole<[f32; 2]> => None;
        Content => None;
        Tree => None;
    }
}

#[test]
fn a_type_that_breaks_pages_of_the_original_library_is_refused_at_its_place() {
    check! {
        Counter => Some(("field", "a Counter"));
        Option<Counter> => Some(("field", "a Counter"));
        Vec<Counter> => Some(("field", "a Counter"));
        (u8, String, Counter) => Some(("field.2", "a Counter"));
        (Content, Tree, [Wrapper<u8>; 2], Option<Counter>) => Some(("field.3", "a Counter"));
        Wrapper<Wrapper<Counter>> => Some(("field.inner.inner", "a Counter"));
        Deep => Some(("field.Pair.1", "a Counter"));
        Timestamp => Some(("field", "a Date"));
        Scalar => Some(("field", "an ImmutableString"));
        char => Some(("field", "an ImmutableString"));
        DocumentId => Some(("field", "an ImmutableString"));
        ItemKey => Some(("field", "an ImmutableString"));
        uuid::Uuid => Some(("field", "an ImmutableString"));
        Unit => Some(("field.Red", "an ImmutableString"));
        Bytes => Some(("field", "a Uint8Array"));
        u64 => Some(("field", "a BigInt"));
        BTreeMap<String, u8> => Some(("field", "an object with keys"));
        KeyedList<u8> => Some(("field", "an object with keys"));
        Tagged => Some(("field", "anything"));
        Foreign => Some(("field.größe", "under a name"));
    }
}

#[test]
fn a_document_whose_form_only_a_value_shows_is_refused() {
    let error = check_web_compatible::<Tagged>().unwrap_err();
    assert!(error.message.contains("only a value shows its form"), "{error}");
}
