//! Law 3: concurrent additions survive, even if both apps are the first to use a place.

use super::*;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
struct Before {
    name: String,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
struct After {
    name: String,
    #[serde(default)]
    tags: Vec<Scalar>,
    #[serde(default)]
    notes: String,
    #[serde(default)]
    votes: Counter,
    #[serde(default)]
    scores: BTreeMap<String, Counter>,
    #[serde(default)]
    detail: Detail,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
struct Detail {
    lines: Vec<String>,
    open: bool,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
struct Optional {
    tags: Option<Vec<Scalar>>,
    notes: Option<String>,
    votes: Option<Counter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
struct Skipped {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Scalar>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    notes: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    votes: Counter,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<u8>,
    scores: BTreeMap<String, Vec<u8>>,
}

fn is_zero(counter: &Counter) -> bool {
    counter.0 == 0
}

fn sorted(mut tags: Vec<Scalar>) -> Vec<Scalar> {
    tags.sort();
    tags
}

#[test]
fn additions_of_both_apps_survive_in_a_field_that_neither_has_used_before() {
    let (mut old, mut one, mut log) = versions::<Before, After>(Before { name: "n".into() });
    let mut other = App::<After>::new(3, "thing");
    meet(&mut one, &mut other, &mut log);
    one.edit(|after| {
        after.tags.push(scalar("a"));
        after.notes = "left".into();
        after.votes += 1;
        after.scores.insert("ada".into(), Counter(1));
        after.detail.lines.push("x".into());
    });
    other.edit(|after| {
        after.tags.push(scalar("b"));
        after.notes = "right".into();
        after.votes += 1;
        after.scores.insert("ada".into(), Counter(2));
        after.scores.insert("bob".into(), Counter(3));
        after.detail.lines.push("y".into());
        after.detail.open = true;
    });
    meet(&mut one, &mut other, &mut log);
    let merged = one.shown().clone();
    assert_eq!(merged, *other.shown());
    assert_eq!(sorted(merged.tags), [scalar("a"), scalar("b")]);
    assert!(merged.notes.contains("left") && merged.notes.contains("right"), "{}", merged.notes);
    assert_eq!(merged.votes, Counter(2));
    assert_eq!(merged.scores, BTreeMap::from([("ada".into(), Counter(3)), ("bob".into(), Counter(3))]));
    assert_eq!(merged.detail.lines.len(), 2);
    assert!(merged.detail.open);
    old.pull(&log);
    old.apply();
    old.edit(|before| before.name = "m".into());
    meet(&mut old, &mut one, &mut log);
    assert_eq!(one.shown().votes, Counter(2));
}

#[test]
fn a_default_with_content_exists_once_after_both_apps_edit_it() {
    fn untitled() -> String {
        "Untitled".into()
    }
    fn ten() -> Counter {
        Counter(10)
    }
    fn tags() -> Vec<Scalar> {
        vec![scalar("new")]
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Late {
        name: String,
        #[serde(default = "untitled")]
        title: String,
        #[serde(default = "ten")]
        lives: Counter,
        #[serde(default = "tags")]
        tags: Vec<Scalar>,
    }
    let (_old, mut one, mut log) = versions::<Before, Late>(Before { name: "n".into() });
    let mut other = App::<Late>::new(3, "thing");
    meet(&mut one, &mut other, &mut log);
    one.edit(|late| {
        late.title.push('!');
        late.lives -= 1;
        late.tags.push(scalar("a"));
    });
    assert_eq!(one.value().get("lives"), Some(&Value::Counter(9)));
    other.edit(|late| {
        late.title.insert(0, '>');
        late.lives -= 1;
        late.tags.push(scalar("b"));
    });
    meet(&mut one, &mut other, &mut log);
    assert_eq!(one.shown(), other.shown());
    assert_eq!(one.shown().title, ">Untitled!");
    assert_eq!(one.shown().lives, Counter(8));
    assert_eq!(sorted(one.shown().tags.clone()), [scalar("a"), scalar("b"), scalar("new")]);
}

#[test]
fn both_apps_setting_none_to_some_merge_its_content() {
    let fill = |tag: &'static str| {
        move |optional: &mut Optional| {
            optional.tags = Some(vec![scalar(tag)]);
            optional.notes = Some(tag.into());
            optional.votes = Some(Counter(1));
            optional.detail = Some(Detail { lines: texts([tag]), open: false });
        }
    };
    let merged = at_once(Optional::default(), fill("a"), fill("b"));
    assert_eq!(sorted(merged.tags.unwrap()), [scalar("a"), scalar("b")]);
    let notes = merged.notes.unwrap();
    assert!(notes == "ab" || notes == "ba", "{notes}");
    assert_eq!(merged.votes, Some(Counter(2)));
    assert_eq!(merged.detail.unwrap().lines.len(), 2);
}

#[test]
fn a_removed_container_can_be_used_again_by_both_apps() {
    let (mut one, mut other, mut log) = pair(Optional::default());
    for round in 0..3 {
        one.edit(|optional| optional.tags = Some(vec![scalar("a")]));
        other.edit(|optional| optional.tags = Some(vec![scalar("b")]));
        one.edit(|optional| optional.detail = Some(Detail { lines: texts(["x"]), open: true }));
        other.edit(|optional| optional.detail = Some(Detail { lines: texts(["y"]), open: true }));
        meet(&mut one, &mut other, &mut log);
        let shown = one.shown().clone();
        assert_eq!(sorted(shown.tags.unwrap()), [scalar("a"), scalar("b")], "round {round}");
        assert_eq!(shown.detail.unwrap().lines.len(), 2, "round {round}");
        one.edit(|optional| *optional = Optional::default());
        meet(&mut one, &mut other, &mut log);
        assert_eq!(*other.shown(), Optional::default());
    }
}

#[test]
fn an_addition_survives_when_the_other_app_empties_the_container() {
    let start = Skipped {
        tags: vec![scalar("old")],
        notes: "old".into(),
        votes: Counter(5),
        due: Some(1),
        scores: BTreeMap::from([("ada".into(), vec![1])]),
    };
    let merged = at_once(
        start,
        |skipped| *skipped = Skipped::default(),
        |skipped| {
            skipped.tags.push(scalar("new"));
            skipped.notes.push_str(" new");
            skipped.votes += 2;
        },
    );
    assert_eq!(merged.tags, [scalar("new")]);
    assert_eq!(merged.notes, " new");
    assert_eq!(merged.votes, Counter(2));
    assert_eq!((merged.due, merged.scores), (None, BTreeMap::new()));
}

#[test]
fn an_addition_inside_a_struct_survives_when_the_other_app_omits_the_struct() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Holder {
        #[serde(default, skip_serializing_if = "is_default")]
        inner: Inner,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Inner {
        tags: Vec<Scalar>,
        lines: Option<Vec<Scalar>>,
        deep: Deep,
        number: u8,
        open: bool,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Deep {
        votes: Counter,
    }
    fn is_default(inner: &Inner) -> bool {
        *inner == Inner::default()
    }
    let inner = Inner {
        tags: vec![scalar("old")],
        lines: Some(vec![scalar("line")]),
        deep: Deep { votes: Counter(5) },
        number: 1,
        open: false,
    };
    let merged = at_once(
        Holder { inner, note: Some("note".into()) },
        // The type distinguishes an empty note from a missing one, so the note is deleted. The struct beside it is
        // still emptied.
        |holder| *holder = Holder::default(),
        |holder| {
            holder.inner.tags.push(scalar("new"));
            holder.inner.deep.votes += 2;
            holder.inner.open = true;
        },
    );
    let inner =
        Inner { tags: vec![scalar("new")], lines: None, deep: Deep { votes: Counter(2) }, number: 0, open: true };
    assert_eq!(merged, Holder { inner, note: None });
}

#[test]
fn a_struct_that_was_left_out_is_read_back_as_it_is_put_again() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Holder {
        #[serde(default, skip_serializing_if = "is_off")]
        badge: Badge,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Badge {
        on: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(default = "five", skip_serializing_if = "is_five")]
        level: u8,
    }
    impl Default for Badge {
        fn default() -> Self {
            Self { on: false, text: None, level: 5 }
        }
    }
    // It leaves the struct out whatever else the struct holds.
    fn is_off(badge: &Badge) -> bool {
        !badge.on
    }
    fn five() -> u8 {
        5
    }
    fn is_five(level: &u8) -> bool {
        *level == 5
    }
    let (mut one, mut other, mut log) = pair(Holder { badge: Badge { on: true, text: Some("x".into()), level: 7 } });
    one.edit(|holder| holder.badge.on = false);
    meet(&mut one, &mut other, &mut log);
    one.edit(|holder| holder.badge = Badge { on: true, ..Badge::default() });
    meet(&mut one, &mut other, &mut log);
    assert_eq!(other.shown().badge, Badge { on: true, text: None, level: 5 });
    assert_eq!(one.shown(), other.shown());
}

#[test]
fn an_edit_of_an_array_survives_when_the_other_app_omits_the_array() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Switches {
        #[serde(default, skip_serializing_if = "all_off")]
        on: [bool; 3],
    }
    fn all_off(on: &[bool; 3]) -> bool {
        *on == [false; 3]
    }
    let start = Switches { on: [true, false, false] };
    let merged = at_once(start, |switches| switches.on[0] = false, |switches| switches.on[2] = true);
    assert_eq!(merged.on, [false, false, true]);
}

#[test]
fn a_new_map_key_holds_the_additions_of_both_apps() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Board {
        players: BTreeMap<String, Player>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Player {
        items: Vec<Scalar>,
        gold: Counter,
        name: Scalar,
    }
    let join = |item: &'static str| {
        move |board: &mut Board| {
            let player = board.players.entry("ada".into()).or_default();
            player.items.push(scalar(item));
            player.gold += 1;
            player.name = scalar("Ada");
        }
    };
    let merged = at_once(Board::default(), join("a"), join("b"));
    let ada = &merged.players["ada"];
    assert_eq!((sorted(ada.items.clone()).len(), ada.gold, &ada.name), (2, Counter(2), &scalar("Ada")));
}

#[test]
fn an_edit_adds_to_a_container_of_the_other_app_that_is_not_shown_yet() {
    let (mut one, mut other, mut log) = pair(Optional::default());
    one.edit(|optional| optional.tags = Some(vec![scalar("a")]));
    one.push(&mut log);
    // The other app has received the change, and its world does not show it yet.
    other.pull(&log);
    other.edit(|optional| optional.tags = Some(vec![scalar("b")]));
    meet(&mut one, &mut other, &mut log);
    assert_eq!(sorted(one.shown().tags.clone().unwrap()), [scalar("a"), scalar("b")]);
}

#[test]
fn a_struct_that_omits_fields_merges_with_fields_that_another_app_writes() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Holder {
        inner: Option<Inner>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Inner {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<Scalar>,
        number: u8,
    }
    let merged = at_once(
        Holder::default(),
        |holder| holder.inner = Some(Inner { tags: Vec::new(), number: 1 }),
        |holder| holder.inner = Some(Inner { tags: vec![scalar("a")], number: 1 }),
    );
    assert_eq!(merged.inner, Some(Inner { tags: vec![scalar("a")], number: 1 }));
}

#[test]
fn a_new_tuple_or_array_holds_the_additions_of_both_apps() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Board {
        #[serde(default)]
        pair: Option<(String, u8, Vec<Scalar>)>,
        #[serde(default)]
        rows: BTreeMap<String, [Cell; 2]>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Cell {
        votes: Counter,
        name: Scalar,
        size: [u8; 2],
    }
    let fill = |letters: &'static str| {
        move |board: &mut Board| {
            board.pair = Some((letters.into(), 7, vec![scalar(letters)]));
            let cell = Cell { votes: Counter(1), name: scalar("a"), size: [3, 4] };
            board.rows.insert("ada".into(), [cell.clone(), cell]);
        }
    };
    let merged = at_once(Board::default(), fill("left"), fill("right"));
    let (text, number, tags) = merged.pair.unwrap();
    assert!(text == "leftright" || text == "rightleft", "{text}");
    assert_eq!((number, sorted(tags)), (7, vec![scalar("left"), scalar("right")]));
    let cell = Cell { votes: Counter(2), name: scalar("a"), size: [3, 4] };
    assert_eq!(merged.rows["ada"], [cell.clone(), cell]);
}

#[test]
fn an_addition_survives_in_a_struct_of_a_tuple_that_the_other_app_leaves_out() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Lines {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<Scalar>,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Page {
        #[serde(default, skip_serializing_if = "is_default")]
        columns: (Lines, Lines),
        #[serde(default, skip_serializing_if = "is_default")]
        rows: [Lines; 2],
    }
    fn is_default<T: Default + PartialEq>(value: &T) -> bool {
        *value == T::default()
    }
    let lines = |text: &str| Lines { lines: vec![scalar(text)] };
    let start = Page { columns: (lines("a"), Lines::default()), rows: [lines("b"), Lines::default()] };
    let merged = at_once(
        start,
        |page| *page = Page::default(),
        |page| {
            page.columns.1 = lines("c");
            page.rows[1] = lines("d");
        },
    );
    let expected = Page { columns: (Lines::default(), lines("c")), rows: [Lines::default(), lines("d")] };
    assert_eq!(merged, expected);
}
