//! Law 5: a register holds one of two concurrent values, never a mix, and the other value stays readable.

use super::*;

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct Vec3(f32, f32, f32);

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Colour {
    Rgb { red: u8, green: u8, blue: u8 },
    Named(Scalar),
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Range {
    from: u8,
    to: u8,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Thing {
    position: Vec3,
    colour: Colour,
    range: Whole<Range>,
    pair: Whole<[u8; 2]>,
}

fn thing() -> Thing {
    Thing {
        position: Vec3(0.0, 0.0, 0.0),
        colour: Colour::Rgb { red: 0, green: 0, blue: 0 },
        range: Whole(Range { from: 0, to: 9 }),
        pair: Whole([0, 0]),
    }
}

#[test]
fn a_register_whose_parts_two_apps_set_holds_the_value_of_one_app() {
    let left = Thing {
        position: Vec3(1.0, 0.0, 0.0),
        colour: Colour::Rgb { red: 1, green: 0, blue: 0 },
        range: Whole(Range { from: 1, to: 9 }),
        pair: Whole([1, 0]),
    };
    let right = Thing {
        position: Vec3(0.0, 0.0, 2.0),
        colour: Colour::Rgb { red: 0, green: 0, blue: 2 },
        range: Whole(Range { from: 0, to: 2 }),
        pair: Whole([0, 2]),
    };
    let (mut one, mut other, mut log) = pair(thing());
    one.edit(|thing| *thing = left.clone());
    other.edit(|thing| *thing = right.clone());
    meet(&mut one, &mut other, &mut log);
    let merged = one.shown();
    assert_eq!(merged, other.shown());
    assert!([left.position, right.position].contains(&merged.position));
    assert!([&left.colour, &right.colour].contains(&&merged.colour));
    assert!([&left.range, &right.range].contains(&&merged.range));
    assert!([&left.pair, &right.pair].contains(&&merged.pair));
    for field in ["position", "colour", "range", "pair"] {
        assert_eq!(one.conflicts(field).len(), 2, "{field}: the other value stays readable");
    }
}

#[test]
fn a_register_is_a_plain_value_in_the_document() {
    let (one, ..) = pair(thing());
    let value = one.value();
    assert_eq!(value.get("pair"), Some(&Value::List(vec![Value::Int(0), Value::Int(0)])));
    let range = BTreeMap::from([("from".to_owned(), Value::Int(0)), ("to".to_owned(), Value::Int(9))]);
    assert_eq!(value.get("range"), Some(&Value::Map(range)));
}

#[test]
fn a_variant_that_holds_a_text_or_a_list_merges_inside() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    enum Block {
        Paragraph { text: String, done: bool },
        List(Vec<String>),
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Page {
        blocks: Vec<Block>,
    }
    let start =
        Page { blocks: vec![Block::Paragraph { text: "middle".into(), done: false }, Block::List(texts(["b"]))] };
    let merged = at_once(
        start,
        |page| page.blocks[0] = Block::Paragraph { text: "> middle".into(), done: false },
        |page| {
            page.blocks[0] = Block::Paragraph { text: "middle <".into(), done: true };
            page.blocks[1] = Block::List(texts(["b", "c"]));
        },
    );
    let expected = vec![Block::Paragraph { text: "> middle <".into(), done: true }, Block::List(texts(["b", "c"]))];
    assert_eq!(merged.blocks, expected);
}

#[test]
fn a_counter_in_a_register_does_not_add_up() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Lap {
        best: Whole<Counter>,
        last: Whole<Option<Counter>>,
    }
    let set =
        |count| move |lap: &mut Lap| *lap = Lap { best: Whole(Counter(count)), last: Whole(Some(Counter(count))) };
    let merged = at_once(Lap { best: Whole(Counter(0)), last: Whole(None) }, set(3), set(5));
    assert!([3, 5].contains(&merged.best.0.0) && [3, 5].contains(&merged.last.0.unwrap().0), "{merged:?}");
}
