//! Reads documents that Automerge's JavaScript library wrote (`tests/fixtures/automerge-js/generate.mjs`) in a Rust
//! app.

use std::collections::BTreeMap;

use automerge::AutoCommit;
use bevy_convex_replicate::format::{self, Bytes, Counter, Scalar, Timestamp, Value};
use serde::{Deserialize, Serialize};

const EVERYTHING: &[u8] = include_bytes!("fixtures/automerge-js/everything.automerge");
const SPARSE: &[u8] = include_bytes!("fixtures/automerge-js/sparse.automerge");
const CONFLICT: &[u8] = include_bytes!("fixtures/automerge-js/conflict.automerge");
const DELETED: &[u8] = include_bytes!("fixtures/automerge-js/deleted.automerge");

fn load(bytes: &[u8]) -> AutoCommit {
    AutoCommit::load(bytes).unwrap()
}

/// Edits a document as an app does. `change` is everything that the app does to its component.
fn edit<T: Serialize + for<'de> Deserialize<'de>>(
    document: &mut AutoCommit,
    change: impl FnOnce(&mut T),
) -> format::Edited {
    let mut component: T = format::from_document(&format::read(document)).unwrap();
    let view = format::to_value(&component).unwrap();
    change(&mut component);
    format::edit(document, &view, &format::to_value(&component).unwrap()).unwrap()
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(rename_all = "camelCase")]
struct Card {
    title: String,
    owner: Option<Scalar<String>>,
    #[serde(default)]
    is_completed: bool,
    whole: Option<u8>,
    whole_float: Option<i32>,
    fraction: Option<f64>,
    negative: Option<f32>,
    large: Option<f64>,
    unsigned: Option<u64>,
    created_at: Option<Timestamp>,
    thumbnail: Option<Bytes>,
    #[serde(default)]
    votes: Counter,
    nothing: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    columns: Vec<Column>,
    position: Option<Position>,
    priority: Option<Priority>,
    shape: Option<Shape>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Column {
    id: Scalar<String>,
    name: String,
    cards: Vec<u32>,
    limit: Option<u32>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Position {
    x: f32,
    y: f32,
    nested: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(rename_all = "camelCase")]
enum Priority {
    Low,
    High,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Shape {
    Circle { radius: f32 },
    Square { side: f32 },
}

fn everything() -> Card {
    Card {
        title: "Buy oat milk 🥛 and café".into(),
        owner: Some("user-7".into()),
        is_completed: false,
        whole: Some(3),
        whole_float: Some(4),
        fraction: Some(0.1),
        negative: Some(-12.0),
        large: Some(9_007_199_254_740_991.0),
        unsigned: Some(5),
        created_at: Some(Timestamp(1_704_164_645_678)),
        thumbnail: Some(Bytes(vec![0, 1, 254, 255])),
        votes: Counter(15),
        nothing: None,
        labels: vec!["red".into(), "blue".into()],
        columns: vec![
            Column { id: "a".into(), name: "To do".into(), cards: vec![1, 2, 3, 4], limit: None },
            Column { id: "b".into(), name: "Done".into(), cards: vec![], limit: Some(5) },
        ],
        position: Some(Position {
            x: 1.0,
            y: 2.5,
            nested: BTreeMap::from([("deep".into(), BTreeMap::from([("deeper".into(), "yes".into())]))]),
        }),
        priority: Some(Priority::High),
        shape: Some(Shape::Circle { radius: 2.0 }),
    }
}

#[test]
fn a_document_of_a_web_app_is_read_as_a_component() {
    let root = format::read(&load(EVERYTHING));
    assert_eq!(format::from_document::<Card>(&root).unwrap(), everything());
    // The values also have the kinds that the web app wrote.
    for (key, kind) in [
        ("title", "Text("),
        ("owner", "Scalar("),
        ("whole", "Int("),
        ("wholeFloat", "Float("),
        ("fraction", "Float("),
        ("createdAt", "Timestamp("),
        ("thumbnail", "Bytes("),
        ("votes", "Counter("),
        ("nothing", "Null"),
    ] {
        let value = format!("{:?}", root.get(key).unwrap());
        assert!(value.starts_with(kind), "{key}: {value}");
    }
}

#[test]
fn writing_the_component_that_was_read_changes_nothing() {
    for bytes in [EVERYTHING, SPARSE] {
        let mut document = load(bytes);
        let heads = document.get_heads();
        assert!(edit::<Card>(&mut document, |_| ()).is_empty());
        assert_eq!(document.get_heads(), heads);
    }
}

#[test]
fn an_edit_writes_its_field_and_keeps_the_rest() {
    let mut document = load(EVERYTHING);
    let before = format::read(&document);
    let edited = edit::<Card>(&mut document, |card| {
        card.title.push('!');
        card.votes += 2;
        card.created_at = Some(Timestamp(5));
        card.columns[1].name = "Finished".into();
        card.columns.remove(0);
        card.priority = Some(Priority::Low);
        card.shape = Some(Shape::Square { side: 1.0 });
        card.owner = None;
    });
    let set = ["columns", "createdAt", "owner", "priority", "shape", "title", "votes"];
    assert_eq!(edited.set.iter().collect::<Vec<_>>(), set.each_ref());
    assert!(edited.removed.is_empty());

    let after = format::read(&load(&document.save()));
    let mut expected = everything();
    expected.title = "Buy oat milk 🥛 and café!".into();
    expected.votes = Counter(17);
    expected.created_at = Some(Timestamp(5));
    expected.columns.remove(0);
    expected.columns[0].name = "Finished".into();
    expected.priority = Some(Priority::Low);
    expected.shape = Some(Shape::Square { side: 1.0 });
    expected.owner = None;
    assert_eq!(format::from_document::<Card>(&after).unwrap(), expected);
    // Fields that this version of the app does not know are unchanged.
    assert!(before.get("added").is_some());
    for (key, value) in before.as_map().unwrap() {
        if !set.contains(&key.as_str()) {
            assert_eq!(after.get(key), Some(value), "{key}");
        }
    }
}

#[test]
fn missing_keys_are_read_as_none_or_the_default() {
    let mut document = load(SPARSE);
    let card: Card = format::from_document(&format::read(&document)).unwrap();
    assert_eq!(card.title, "Sparse");
    assert_eq!((card.owner, card.votes, card.labels), (None, Counter(0), vec![]));
    // The edit writes only the changed field.
    edit::<Card>(&mut document, |card| card.labels.push("new".into()));
    let keys: Vec<String> = format::read(&document).as_map().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["id", "labels", "title"]);
}

#[test]
fn concurrent_edits_of_web_apps_merge_or_make_a_conflict() {
    let document = load(CONFLICT);
    let root = format::read(&document);
    assert_eq!(root.get("title"), Some(&Value::Text("our plans".into())));
    assert_eq!(root.get("votes"), Some(&Value::Counter(5)));
    let size = format::conflicts(&document, "size");
    assert_eq!(size, [Value::Int(2), Value::Int(3)]);
    assert_eq!(format::conflicts(&document, "status").len(), 2);
    assert_eq!(format::conflicts(&document, "title").len(), 1);
}

#[test]
fn setting_a_conflicting_field_resolves_the_conflict() {
    #[derive(Serialize, Deserialize)]
    struct Sized {
        size: u8,
    }
    let mut document = load(CONFLICT);
    edit::<Sized>(&mut document, |it| it.size = 9);
    assert_eq!(format::conflicts(&document, "size"), [Value::Int(9)]);
}

#[test]
fn a_tombstone_of_a_web_app_is_a_tombstone() {
    assert!(format::read(&load(DELETED)).is_deleted());
    assert!(!format::read(&load(SPARSE)).is_deleted());
}

#[test]
fn the_error_for_a_document_that_does_not_fit_names_the_field() {
    #[derive(Deserialize, Debug)]
    struct Other {
        #[allow(dead_code)]
        labels: Vec<u8>,
    }
    let error = format::from_document::<Other>(&format::read(&load(EVERYTHING))).unwrap_err();
    assert_eq!(error.to_string(), "labels[0]: invalid type: string \"red\", expected u8");
}
