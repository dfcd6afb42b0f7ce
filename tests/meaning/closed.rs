//! Law 1: if a type can read a document before two concurrent edits of that type, it can read the document after their
//! merge.

use super::*;

#[test]
fn arrays_and_tuples_keep_their_length_and_merge_item_by_item() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Fixed {
        position: [f32; 3],
        days: [bool; 7],
        pair: (i32, i32),
        counts: [Counter; 2],
        grid: [[u8; 3]; 3],
        labels: [String; 2],
    }
    let merged = at_once(
        Fixed::default(),
        |fixed| {
            fixed.position[0] = 1.5;
            fixed.days[1] = true;
            fixed.pair.0 = 1;
            fixed.counts[0] += 2;
            fixed.grid[0][0] = 1;
            fixed.labels[0] = "left".into();
        },
        |fixed| {
            fixed.position[2] = 2.5;
            fixed.days[5] = true;
            fixed.pair.1 = 2;
            fixed.counts[0] += 3;
            fixed.grid[2][2] = 9;
            fixed.labels[1] = "right".into();
        },
    );
    let expected = Fixed {
        position: [1.5, 0.0, 2.5],
        days: [false, true, false, false, false, true, false],
        pair: (1, 2),
        counts: [Counter(5), Counter(0)],
        grid: [[1, 0, 0], [0, 0, 0], [0, 0, 9]],
        labels: ["left".into(), "right".into()],
    };
    assert_eq!(merged, expected);
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Holder<T> {
    value: T,
}

/// Both apps set a value concurrently; the result is one of the two values.
#[track_caller]
fn is_one_of_two<T: crate::typed::Component + PartialEq + std::fmt::Debug>(start: T, left: T, right: T) {
    let merged =
        at_once(Holder { value: start }, |holder| holder.value = left.clone(), |holder| holder.value = right.clone());
    assert!([&left, &right].contains(&&merged.value), "{merged:?}");
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum External {
    Unit,
    Circle { radius: u8, name: u8 },
    Square { side: u8, name: u8 },
    Pair(u8, u8),
    One(u8),
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "kind")]
enum Internal {
    Unit,
    Circle { radius: u8, name: u8 },
    Square { side: u8, name: bool },
    Other(BTreeMap<String, u8>),
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    Circle { radius: u8 },
    Long(Vec<u8>),
    Pair(u8, u8),
}

#[test]
fn of_two_concurrent_switches_of_a_variant_one_wins() {
    let circle = External::Circle { radius: 1, name: 2 };
    let square = External::Square { side: 3, name: 4 };
    is_one_of_two(External::Unit, circle.clone(), square.clone());
    is_one_of_two(circle.clone(), square.clone(), External::Pair(1, 2));
    is_one_of_two(External::Pair(0, 0), External::Pair(1, 0), External::Pair(0, 2));
    is_one_of_two(External::One(1), External::Unit, circle);

    let circle = Internal::Circle { radius: 1, name: 2 };
    let square = Internal::Square { side: 3, name: true };
    let other = Internal::Other(BTreeMap::from([("radius".into(), 1)]));
    is_one_of_two(Internal::Unit, circle.clone(), square.clone());
    is_one_of_two(circle.clone(), square.clone(), Internal::Unit);
    is_one_of_two(other.clone(), circle.clone(), square);
    is_one_of_two(circle, Internal::Circle { radius: 2, name: 2 }, Internal::Circle { radius: 1, name: 3 });

    let (circle, long) = (Adjacent::Circle { radius: 1 }, Adjacent::Long(vec![1, 2, 3]));
    is_one_of_two(Adjacent::Unit, circle.clone(), long.clone());
    is_one_of_two(circle.clone(), Adjacent::Pair(1, 2), Adjacent::Unit);
    is_one_of_two(long, circle, Adjacent::Pair(3, 4));
}

#[test]
fn a_document_that_is_an_enum_stays_one_variant_after_a_merge() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    #[serde(tag = "kind")]
    enum Shape {
        Circle { name: String, radius: u8 },
        Square { name: String, side: u8 },
        Line { length: u8 },
    }
    let circle = Shape::Circle { name: "n".into(), radius: 1 };
    let square = Shape::Square { name: "n".into(), side: 2 };
    let line = Shape::Line { length: 3 };
    let cases = [(&circle, &square, &line), (&circle, &line, &square), (&line, &square, &circle)];
    for (start, left, right) in cases {
        let merged = at_once(start.clone(), |shape| *shape = left.clone(), |shape| *shape = right.clone());
        assert!([left, right].contains(&&merged), "{merged:?}");
    }

    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    #[serde(tag = "t", content = "c")]
    enum Switched {
        Short { a: u8 },
        Long(Vec<u8>),
    }
    let long = Switched::Long((0..50).collect());
    let merged = at_once(
        Switched::Short { a: 1 },
        |switched| *switched = long.clone(),
        |switched| *switched = Switched::Short { a: 2 },
    );
    assert!([&long, &Switched::Short { a: 2 }].contains(&&merged));
}

#[test]
fn an_older_version_reads_a_longer_tuple_and_keeps_its_other_items() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct New {
        size: [u8; 3],
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Old {
        size: [u8; 2],
    }
    let (mut new, mut old, mut log) = versions::<New, Old>(New { size: [1, 2, 3] });
    assert_eq!(old.shown().size, [1, 2]);
    old.edit(|old| old.size[0] = 9);
    meet(&mut new, &mut old, &mut log);
    assert_eq!(new.shown().size, [9, 2, 3]);
}

#[test]
fn a_renamed_field_is_read_and_written_under_the_name_that_the_document_has() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Old {
        title: String,
        steps: Vec<OldStep>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct OldStep {
        text: String,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct New {
        #[serde(alias = "title")]
        name: String,
        steps: Vec<NewStep>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct NewStep {
        #[serde(alias = "text")]
        words: String,
    }
    let start = Old { title: "a".into(), steps: vec![OldStep { text: "b".into() }] };
    let (mut old, mut new, mut log) = versions::<Old, New>(start);
    assert_eq!(new.shown().name, "a");
    new.edit(|new| {
        new.name.push('!');
        new.steps[0].words.push('?');
    });
    meet(&mut old, &mut new, &mut log);
    assert_eq!(*old.shown(), Old { title: "a!".into(), steps: vec![OldStep { text: "b?".into() }] });
    old.edit(|old| old.title.push('.'));
    new.edit(|new| new.name.insert(0, '>'));
    meet(&mut old, &mut new, &mut log);
    assert_eq!(new.shown().name, ">a!.");
}

#[test]
fn a_document_with_both_names_of_a_renamed_field_is_readable() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Named {
        #[serde(alias = "title")]
        name: Scalar,
        inner: Inner,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Inner {
        #[serde(alias = "old")]
        new: u8,
    }
    let inner = Value::Map(BTreeMap::from([("new".into(), Value::Int(1)), ("old".into(), Value::Int(2))]));
    let document = Value::Map(BTreeMap::from([
        ("title".into(), Value::Scalar("t".into())),
        ("name".into(), Value::Scalar("n".into())),
        ("inner".into(), inner),
    ]));
    let named: Named = bevy_convex_replicate::format::from_document(&document).unwrap();
    assert_eq!(named, Named { name: scalar("n"), inner: Inner { new: 1 } });
}
