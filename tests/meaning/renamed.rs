//! Laws 2 and 3 for fields that an update renamed, and for the fields beside them.

use super::*;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Old {
    title: String,
    inner: OldInner,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct OldInner {
    size: f64,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct New {
    #[serde(alias = "title")]
    name: String,
    inner: NewInner,
    #[serde(default)]
    steps: Vec<u8>,
    note: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct NewInner {
    #[serde(alias = "size")]
    width: f64,
    #[serde(default)]
    height: f64,
}

#[test]
fn the_first_edit_of_an_added_field_does_not_change_a_renamed_one() {
    let start = Old { title: "a".into(), inner: OldInner { size: 1.5 } };
    let (mut old, mut new, mut log) = versions::<Old, New>(start.clone());
    new.edit(|new| new.steps.push(7));
    new.edit(|new| new.inner.height = 2.5);
    new.edit(|new| new.note = Some("b".into()));
    meet(&mut old, &mut new, &mut log);
    assert_eq!(*old.shown(), start);
    let expected =
        New { name: "a".into(), inner: NewInner { width: 1.5, height: 2.5 }, steps: vec![7], note: Some("b".into()) };
    assert_eq!(*new.shown(), expected);
}

#[test]
fn two_versions_that_add_under_a_renamed_field_add_to_one_container() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Before {
        tags: BTreeMap<String, Vec<u8>>,
        text: Option<String>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct After {
        #[serde(alias = "tags")]
        labels: BTreeMap<String, Vec<u8>>,
        #[serde(alias = "text")]
        words: Option<String>,
    }
    let (mut old, mut new, mut log) = versions::<Before, After>(Before { tags: BTreeMap::new(), text: None });
    old.edit(|old| {
        old.tags.insert("a".into(), vec![1]);
        old.text = Some("x".into());
    });
    new.edit(|new| {
        new.labels.insert("a".into(), vec![2]);
        new.words = Some("y".into());
    });
    meet(&mut old, &mut new, &mut log);
    let mut items = old.shown().tags["a"].clone();
    items.sort_unstable();
    assert_eq!(items, [1, 2]);
    let mut letters: Vec<char> = old.shown().text.as_deref().unwrap_or_default().chars().collect();
    letters.sort_unstable();
    assert_eq!(letters, ['x', 'y']);
    assert_eq!(new.shown().labels, old.shown().tags);
}

#[test]
fn an_empty_struct_merges_with_the_same_struct_that_another_app_fills() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Note {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Notes {
        notes: BTreeMap<String, Note>,
    }
    for first in [true, false] {
        let (mut a, mut b, mut log) = versions::<Notes, Notes>(Notes { notes: BTreeMap::new() });
        let text = |is_empty: bool| if is_empty { String::new() } else { "abc".to_owned() };
        a.edit(|a| drop(a.notes.insert("k".into(), Note { text: text(first) })));
        b.edit(|b| drop(b.notes.insert("k".into(), Note { text: text(!first) })));
        meet(&mut a, &mut b, &mut log);
        assert_eq!(a.shown().notes["k"].text, "abc");
        assert_eq!(b.shown().notes["k"].text, "abc");
    }
}

#[test]
fn a_renamed_field_that_is_omitted_while_empty_stays_one_field() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Older {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        labels: Vec<Scalar>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Newer {
        #[serde(default, skip_serializing_if = "Vec::is_empty", alias = "labels")]
        tags: Vec<Scalar>,
    }
    let (mut older, mut newer, mut log) = versions::<Older, Newer>(Older { labels: vec![scalar("a")] });
    newer.edit(|newer| newer.tags.clear());
    newer.edit(|newer| newer.tags.push(scalar("b")));
    older.edit(|older| older.labels.push(scalar("c")));
    meet(&mut older, &mut newer, &mut log);
    assert_eq!(older.shown().labels, newer.shown().tags);
    let mut tags = newer.shown().tags.clone();
    tags.sort();
    assert_eq!(tags, [scalar("b"), scalar("c")]);
    assert_eq!(newer.value().get("tags"), None);
}

#[test]
fn renamed_fields_in_a_renamed_field_are_found() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Older {
        a: OlderInner,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct OlderInner {
        b: BTreeMap<String, u8>,
        c: u8,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Newer {
        #[serde(alias = "a")]
        a_new: NewerInner,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct NewerInner {
        #[serde(alias = "b")]
        b_new: BTreeMap<String, u8>,
        c: u8,
    }
    let start = Older { a: OlderInner { b: BTreeMap::from([("x".into(), 1)]), c: 1 } };
    let (mut older, mut newer, mut log) = versions::<Older, Newer>(start);
    newer.edit(|newer| {
        newer.a_new.b_new.insert("y".into(), 2);
    });
    older.edit(|older| older.a.c = 3);
    meet(&mut older, &mut newer, &mut log);
    let entries = BTreeMap::from([("x".to_owned(), 1), ("y".to_owned(), 2)]);
    assert_eq!(older.shown().a, OlderInner { b: entries.clone(), c: 3 });
    assert_eq!(newer.shown().a_new, NewerInner { b_new: entries, c: 3 });
}

#[test]
fn a_key_of_a_map_is_not_another_name_of_a_key_that_a_newer_app_wrote() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    #[serde(tag = "kind")]
    enum Old {
        Stone,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    #[serde(tag = "kind")]
    enum New {
        Stone,
        Wood,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct OldBoard {
        cells: BTreeMap<String, Old>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct NewBoard {
        cells: BTreeMap<String, New>,
    }
    let (mut old, mut new, mut log) = versions::<OldBoard, NewBoard>(OldBoard::default());
    new.edit(|board| {
        board.cells.insert("a".into(), New::Stone);
        board.cells.insert("b".into(), New::Wood);
    });
    meet(&mut old, &mut new, &mut log);
    // The old app cannot read the board, and still shows an empty one.
    old.edit(|board| {
        board.cells.insert("c".into(), Old::Stone);
    });
    meet(&mut old, &mut new, &mut log);
    let cells = [("a", New::Stone), ("b", New::Wood), ("c", New::Stone)];
    assert_eq!(new.shown().cells, cells.map(|(key, cell)| (key.to_owned(), cell)).into());
}

#[test]
fn a_renamed_field_of_an_item_is_found_if_it_has_its_default() {
    fn one() -> Counter {
        Counter(1)
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct OldItem {
        id: Scalar,
        #[serde(default = "one")]
        votes: Counter,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct NewItem {
        id: Scalar,
        #[serde(default = "one", alias = "votes")]
        points: Counter,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Older {
        items: Vec<OldItem>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Newer {
        items: Vec<NewItem>,
    }
    let item = |id: &str| OldItem { id: scalar(id), votes: Counter(1) };
    let (mut older, mut newer, mut log) = versions::<Older, Newer>(Older { items: vec![item("a"), item("b")] });
    older.edit(|older| older.items[1].votes += 2);
    newer.edit(|newer| {
        newer.items.remove(0);
        newer.items[0].points += 8;
    });
    meet(&mut older, &mut newer, &mut log);
    assert_eq!(older.shown().items, [OldItem { id: scalar("b"), votes: Counter(11) }]);
    assert_eq!(newer.shown().items, [NewItem { id: scalar("b"), points: Counter(11) }]);
}

#[test]
fn a_renamed_field_of_an_item_is_found_while_the_list_has_an_item_twice() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct OldItem {
        id: Scalar,
        votes: Counter,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct NewItem {
        id: Scalar,
        #[serde(alias = "votes")]
        points: Counter,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Older {
        items: Vec<OldItem>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Newer {
        items: Vec<NewItem>,
    }
    let items = ["a", "b", "c", "d"].map(|id| OldItem { id: scalar(id), votes: Counter(3) });
    let (mut older, mut other, mut log) = pair(Older { items: items.to_vec() });
    let mut newer = App::<Newer>::new(3, "thing");
    // Both move an item at once, so it has two places.
    older.edit(|older| older.items.rotate_left(1));
    other.edit(|other| {
        let first = other.items.remove(0);
        other.items.insert(2, first);
    });
    meet(&mut older, &mut other, &mut log);
    meet(&mut older, &mut newer, &mut log);
    assert_eq!(older.value().get("items").and_then(Value::as_list).map(<[Value]>::len), Some(5));
    let index = |newer: &Newer| newer.items.iter().position(|item| item.id == scalar("c")).expect("c is there");
    newer.edit(|newer| {
        let index = index(newer);
        newer.items[index].points += 4;
    });
    meet(&mut older, &mut newer, &mut log);
    assert_eq!(older.shown().items.iter().find(|item| item.id == scalar("c")).map(|item| item.votes), Some(Counter(7)));
    assert_eq!(newer.shown().items[index(newer.shown())].points, Counter(7));
}

#[test]
fn a_field_that_two_versions_began_under_its_two_names_can_be_removed() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct OldInner {
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        open: bool,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct NewInner {
        #[serde(default, skip_serializing_if = "std::ops::Not::not", alias = "open")]
        shown: bool,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Older {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        votes: Option<Counter>,
        inner: OldInner,
        whole: Whole<OldInner>,
        items: Vec<OldInner>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Newer {
        #[serde(default, skip_serializing_if = "Option::is_none", alias = "votes")]
        points: Option<Counter>,
        inner: NewInner,
        whole: Whole<NewInner>,
        items: Vec<NewInner>,
    }
    let inner = OldInner { open: false };
    let start = Older { votes: None, inner: inner.clone(), whole: Whole(inner.clone()), items: vec![inner] };
    let (mut older, mut newer, mut log) = versions::<Older, Newer>(start.clone());
    let cleared = newer.shown().clone();
    older.edit(|older| {
        older.votes = Some(Counter(129));
        older.inner.open = true;
        older.items[0].open = true;
    });
    newer.edit(|newer| {
        newer.points = Some(Counter(193));
        newer.inner.shown = true;
        newer.items[0].shown = true;
    });
    meet(&mut older, &mut newer, &mut log);
    // Each version shows the field under its own name.
    assert_eq!((older.shown().votes, newer.shown().points), (Some(Counter(129)), Some(Counter(193))));
    newer.set(cleared.clone());
    let stored = newer.stored;
    newer.set(cleared.clone());
    assert_eq!(newer.stored, stored, "the same value again writes nothing");
    meet(&mut older, &mut newer, &mut log);
    assert_eq!(*newer.shown(), cleared);
    assert_eq!(*older.shown(), start);
}
