//! Law 2: an edit writes only the difference to the value that the entity had shown.

use super::*;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct New {
    theme: Theme,
    size: Size,
    tags: Vec<Tag>,
    name: String,
    extra: u8,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Size {
    width: u8,
    height: u8,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum Theme {
    Dark,
    Light,
    Sepia,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Tag {
    label: Scalar,
    colour: Scalar,
}

/// An older version: it does not know sepia, its size is a number, and its tags have no colour.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Old {
    theme: OldTheme,
    size: u8,
    tags: Vec<OldTag>,
    name: String,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum OldTheme {
    Dark,
    Light,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, PartialOrd)]
struct OldTag {
    label: Scalar,
}

fn old() -> Old {
    Old { theme: OldTheme::Dark, size: 1, tags: Vec::new(), name: "old".into() }
}

fn new() -> New {
    let tag = |label, colour| Tag { label: scalar(label), colour: scalar(colour) };
    New {
        theme: Theme::Sepia,
        size: Size { width: 2, height: 3 },
        tags: vec![tag("b", "red"), tag("a", "blue")],
        name: "new".into(),
        extra: 7,
    }
}

#[test]
fn an_older_app_that_makes_its_defaults_changes_nothing() {
    let (mut newer, mut older, mut log) = versions::<New, Old>(new());
    assert!(!older.is_shown(), "the document does not fit");
    older.spawn(old());
    meet(&mut newer, &mut older, &mut log);
    assert_eq!(*newer.shown(), new());
    assert_eq!(*older.shown(), old(), "its entity shows what it has made");
    older.edit(|_| {});
    older.push(&mut log);
    assert_eq!(older.value(), newer.value(), "touching it writes nothing");

    older.edit(|older| older.name = "old and edited".into());
    meet(&mut newer, &mut older, &mut log);
    assert_eq!(*newer.shown(), New { name: "new and edited".into(), ..new() });
}

#[test]
fn only_the_edit_of_a_part_in_another_form_is_refused() {
    let (mut newer, mut older, mut log) = versions::<New, Old>(new());
    older.spawn(old());
    older.edit(|older| {
        older.size = 5;
        older.theme = OldTheme::Light;
    });
    assert!(older.failures.iter().any(|failure| failure.contains("size")), "{:?}", older.failures);
    meet(&mut newer, &mut older, &mut log);
    assert_eq!(*newer.shown(), New { theme: Theme::Light, ..new() });
    let reported = older.failures.len();
    older.edit(|older| older.name.push('!'));
    assert_eq!(older.failures.len(), reported, "the next edit is accepted completely");
    meet(&mut newer, &mut older, &mut log);
    assert_eq!(newer.shown().name, "new!");
}

#[test]
fn an_entity_whose_document_no_longer_fits_keeps_its_value_and_stays_editable() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Both {
        theme: Theme,
        name: String,
        count: Counter,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Older {
        theme: OldTheme,
        name: String,
        count: Counter,
    }
    let start = Both { theme: Theme::Dark, name: "abc".into(), count: Counter(1) };
    let (mut newer, mut older, mut log) = versions::<Both, Older>(start);
    newer.edit(|newer| {
        newer.theme = Theme::Sepia;
        newer.name = "ab".into();
        newer.count += 1;
    });
    meet(&mut newer, &mut older, &mut log);
    assert_eq!(older.shown().name, "abc");
    older.edit(|older| {
        older.name = "abc!".into();
        older.count += 10;
    });
    older.edit(|older| older.name = "abc!?".into());
    meet(&mut newer, &mut older, &mut log);
    assert_eq!(*newer.shown(), Both { theme: Theme::Sepia, name: "ab!?".into(), count: Counter(12) });
    // The entity shows the document again as soon as it fits.
    newer.edit(|newer| newer.theme = Theme::Light);
    meet(&mut newer, &mut older, &mut log);
    assert_eq!(*older.shown(), Older { theme: OldTheme::Light, name: "ab!?".into(), count: Counter(12) });
}

#[test]
fn lists_keep_values_that_an_older_type_does_not_know() {
    #[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
    enum Newer {
        Red,
        Green,
        Violet,
    }
    #[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
    enum Older {
        Red,
        Green,
        #[serde(other)]
        Unknown,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Palette<T> {
        colours: Vec<T>,
        first: T,
        pair: [T; 2],
    }
    let start =
        Palette { colours: vec![Newer::Red, Newer::Violet], first: Newer::Violet, pair: [Newer::Violet, Newer::Red] };
    let (mut newer, mut older, mut log) = versions::<Palette<Newer>, Palette<Older>>(start);
    assert_eq!(older.shown().colours, [Older::Red, Older::Unknown]);
    older.edit(|older| {
        older.colours.push(Older::Green);
        older.pair[1] = Older::Green;
    });
    older.edit(|older| older.colours.reverse());
    meet(&mut newer, &mut older, &mut log);
    let expected = Palette {
        colours: vec![Newer::Green, Newer::Violet, Newer::Red],
        first: Newer::Violet,
        pair: [Newer::Violet, Newer::Green],
    };
    assert_eq!(*newer.shown(), expected);
}

#[test]
fn sorting_a_list_keeps_unknown_fields_with_their_items() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Tags<T> {
        tags: Vec<T>,
    }
    let tag = |label, colour| Tag { label: scalar(label), colour: scalar(colour) };
    let start = Tags { tags: vec![tag("c", "red"), tag("a", "blue"), tag("b", "green")] };
    let (mut newer, mut older, mut log) = versions::<Tags<Tag>, Tags<OldTag>>(start);
    older.edit(|older| older.tags.sort_by(|a, b| a.label.cmp(&b.label)));
    meet(&mut newer, &mut older, &mut log);
    assert_eq!(newer.shown().tags, [tag("a", "blue"), tag("b", "green"), tag("c", "red")]);
}

#[test]
fn registers_keep_the_fields_that_an_older_type_does_not_know() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    enum Newer {
        Circle { radius: u8, filled: bool },
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    enum Older {
        Circle { radius: u8 },
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Thing<T> {
        shape: T,
        whole: Whole<BTreeMap<String, u8>>,
    }
    let start = Thing { shape: Newer::Circle { radius: 1, filled: true }, whole: Whole(BTreeMap::new()) };
    let (mut newer, mut older, mut log) = versions::<Thing<Newer>, Thing<Older>>(start);
    older.edit(|older| older.shape = Older::Circle { radius: 2 });
    meet(&mut newer, &mut older, &mut log);
    assert_eq!(newer.shown().shape, Newer::Circle { radius: 2, filled: true });
}

#[test]
fn numbers_are_read_back_with_their_kind() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    #[serde(untagged)]
    enum Number {
        Int(i64),
        Float(f64),
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Numbers {
        number: Number,
        list: Vec<Number>,
        zero: f64,
        bytes: Bytes,
    }
    let start = Numbers { number: Number::Int(2), list: vec![Number::Int(1)], zero: 0.0, bytes: Bytes(vec![1]) };
    let (mut one, mut other, mut log) = pair(start);
    one.edit(|numbers| {
        numbers.number = Number::Float(2.0);
        numbers.list = vec![Number::Float(1.0), Number::Float(-3.0)];
        numbers.zero = -0.0;
    });
    meet(&mut one, &mut other, &mut log);
    let shown = other.shown();
    assert_eq!(shown.number, Number::Float(2.0));
    assert_eq!(shown.list, [Number::Float(1.0), Number::Float(-3.0)]);
    assert!(shown.zero.is_sign_negative());
}

#[test]
fn an_edit_after_which_a_document_fits_again_shows_its_other_parts() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    enum OldKind {
        Stone,
        Clay,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    enum NewKind {
        Stone,
        Wood,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct OldCell {
        title: String,
        kind: OldKind,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct NewCell {
        title: String,
        kind: NewKind,
    }
    let start = OldCell { title: "a".into(), kind: OldKind::Stone };
    let (mut old, mut new, mut log) = versions::<OldCell, NewCell>(start.clone());
    new.edit(|new| *new = NewCell { title: "ab".into(), kind: NewKind::Wood });
    meet(&mut old, &mut new, &mut log);
    assert_eq!(*old.shown(), start);
    old.edit(|old| old.kind = OldKind::Clay);
    old.apply();
    assert_eq!(*old.shown(), OldCell { title: "ab".into(), kind: OldKind::Clay });
}
