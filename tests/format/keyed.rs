//! Lists whose items have an identity.

use bevy_convex_replicate::format::{ItemKey, KeyedList};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Card {
    title: String,
    #[serde(default)]
    votes: Counter,
}

/// An older version of the card.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OldCard {
    title: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Board<T> {
    cards: KeyedList<T>,
}

fn card(title: &str) -> Card {
    Card { title: title.into(), votes: Counter(0) }
}

/// The board of one app: its document, and the value that it shows.
struct App {
    document: AutoCommit,
}

impl App {
    fn new(cards: KeyedList<Card>) -> Self {
        let mut app = App { document: AutoCommit::new().with_actor(ActorId::from([1; 16])) };
        format::edit(&mut app.document, &map([]), &format::to_value(&Board { cards }).unwrap()).unwrap();
        app
    }

    fn other(&mut self, actor: u8) -> Self {
        App { document: self.document.fork().with_actor(ActorId::from([actor; 16])) }
    }

    fn cards<T: DeserializeOwned>(&self) -> KeyedList<T> {
        format::from_document::<Board<T>>(&format::read(&self.document)).unwrap().cards
    }

    /// Changes the list and writes the difference.
    fn edit<T: Serialize + DeserializeOwned>(&mut self, change: impl FnOnce(&mut KeyedList<T>)) -> Edited {
        let mut cards = self.cards::<T>();
        let view = format::to_value(&Board { cards: self.cards::<T>() }).unwrap();
        change(&mut cards);
        format::edit(&mut self.document, &view, &format::to_value(&Board { cards }).unwrap()).unwrap()
    }

    fn titles(&self) -> Vec<String> {
        self.cards::<Card>().values().map(|card| card.title.clone()).collect()
    }
}

/// Exchanges the changes of both apps and checks that they agree.
#[track_caller]
fn merged(a: &mut App, b: &mut App) -> Vec<String> {
    a.document.merge(&mut b.document).unwrap();
    b.document.merge(&mut a.document).unwrap();
    assert_eq!(a.cards::<Card>(), b.cards::<Card>());
    a.titles()
}

fn two(titles: &[&str]) -> (App, App) {
    let mut a = App::new(KeyedList::with_keys(titles.iter().map(|title| (*title, card(title)))));
    let b = a.other(2);
    (a, b)
}

#[test]
fn a_list_is_a_map_of_items_with_positions() {
    let list = KeyedList::with_keys([("a", card("one")), ("b", card("two"))]);
    let value = format::to_value(&list).unwrap();
    let position = |key: &str| value.get(key).unwrap().get("position").unwrap().clone();
    assert_exactly(
        &value,
        &map([
            ("a", map([("position", position("a")), ("value", format::to_value(&card("one")).unwrap())])),
            ("b", map([("position", position("b")), ("value", format::to_value(&card("two")).unwrap())])),
        ]),
    );
    assert!(matches!(position("a"), Value::Scalar(_)), "a position is replaced as a whole");
    assert!(position("a").as_str() < position("b").as_str());
    comes_back(list, value);
    comes_back(KeyedList::<u8>::new(), map([]));
}

#[test]
fn a_list_is_read_back_from_json() {
    let list = KeyedList::from_iter([card("one"), card("two"), card("three")]);
    let json = serde_json::to_string(&list).unwrap();
    assert_eq!(serde_json::from_str::<KeyedList<Card>>(&json).unwrap(), list);
    let list = KeyedList::from_iter([Some(1), None, Some(2)]);
    let json = serde_json::to_value(&list).unwrap();
    assert_eq!(serde_json::from_value::<KeyedList<Option<u8>>>(json).unwrap(), list, "null is a value");
}

#[test]
fn lists_made_with_the_same_keys_are_equal() {
    let make = || format::to_value(&KeyedList::with_keys([("todo", 1), ("doing", 2), ("done", 3)])).unwrap();
    assert_exactly(&make(), &make());
}

#[test]
fn a_move_writes_one_position() {
    let (mut a, _) = two(&["a", "b", "c"]);
    a.document.commit();
    let before = a.document.get_heads();
    a.edit::<Card>(|cards| assert!(cards.move_to("c", 0)));
    a.document.commit();
    let operations: usize = a.document.get_changes(&before).iter().map(|change| change.len()).sum();
    assert_eq!((a.titles(), operations), (["c", "a", "b"].map(String::from).to_vec(), 1));
    assert!(a.edit::<Card>(|cards| assert!(cards.move_to("c", 0))).is_empty(), "the item is already there");
}

#[test]
fn two_items_inserted_at_one_place_are_both_in_the_list() {
    let (mut a, mut b) = two(&["first", "last"]);
    a.edit::<Card>(|cards| {
        cards.insert(1, card("of a"));
    });
    b.edit::<Card>(|cards| {
        cards.insert(1, card("of b"));
    });
    let titles = merged(&mut a, &mut b);
    assert_eq!((titles.len(), titles[0].as_str(), titles[3].as_str()), (4, "first", "last"));
    // A third item fits between the two, and neither of them is written.
    a.document.commit();
    let before = a.document.get_heads();
    a.edit::<Card>(|cards| {
        cards.insert_with_key(2, "between".into(), card("between"));
    });
    assert_eq!(a.titles()[2], "between");
    a.document.commit();
    assert_eq!(a.document.get_changes(&before).len(), 1);
}

#[test]
fn an_item_that_two_apps_move_is_in_the_list_once() {
    let (mut a, mut b) = two(&["a", "b", "c", "d"]);
    a.edit::<Card>(|cards| assert!(cards.move_to("a", 3)));
    b.edit::<Card>(|cards| assert!(cards.move_to("a", 1)));
    let titles = merged(&mut a, &mut b);
    assert!(titles == ["b", "c", "d", "a"] || titles == ["b", "a", "c", "d"], "{titles:?}");
}

#[test]
fn two_apps_that_sort_differently_have_each_item_once() {
    let (mut a, mut b) = two(&["c", "a", "d", "b", "e"]);
    a.edit::<Card>(|cards| cards.sort_by(|a, b| a.title.cmp(&b.title)));
    assert_eq!(a.titles(), ["a", "b", "c", "d", "e"]);
    b.edit::<Card>(|cards| cards.sort_by(|a, b| b.title.cmp(&a.title)));
    assert_eq!(b.titles(), ["e", "d", "c", "b", "a"]);
    let mut titles = merged(&mut a, &mut b);
    titles.sort();
    assert_eq!(titles, ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_moved_item_keeps_the_edits_of_others() {
    let (mut a, mut b) = two(&["milk", "bread", "salt"]);
    a.edit::<Card>(|cards| assert!(cards.move_to("salt", 0)));
    b.edit::<Card>(|cards| {
        let card = cards.get_mut("salt").unwrap();
        card.title = "sea salt".into();
        card.votes += 1;
    });
    a.edit::<Card>(|cards| cards.get_mut("salt").unwrap().votes += 2);
    assert_eq!(merged(&mut a, &mut b), ["sea salt", "milk", "bread"]);
    assert_eq!(a.cards::<Card>().get("salt").unwrap().votes, Counter(3));
}

#[test]
fn an_item_that_one_app_removes_and_another_moves_or_edits_is_removed() {
    let (mut a, mut b) = two(&["a", "b", "c"]);
    a.edit::<Card>(|cards| {
        cards.remove("a");
        cards.remove("b");
    });
    b.edit::<Card>(|cards| {
        cards.move_to("a", 2);
        cards.get_mut("b").unwrap().title = "changed".into();
    });
    assert_eq!(merged(&mut a, &mut b), ["c"]);
}

#[test]
fn unknown_fields_survive_moves_and_edits_of_an_older_version() {
    let (mut a, mut b) = two(&["a", "b"]);
    a.edit::<Card>(|cards| cards.get_mut("b").unwrap().votes += 5);
    let cards = a.document.get(ROOT, "cards").unwrap().unwrap().1;
    let entry = a.document.get(&cards, "b").unwrap().unwrap().1;
    a.document.put(&entry, "colour", "red").unwrap();
    b.document.merge(&mut a.document).unwrap();
    b.edit::<OldCard>(|cards| {
        cards.move_to("b", 0);
        cards.get_mut("b").unwrap().title = "new".into();
        cards.sort_by(|a, b| b.title.cmp(&a.title));
    });
    assert_eq!(merged(&mut a, &mut b), ["new", "a"]);
    assert_eq!(a.cards::<Card>().get("b").unwrap().votes, Counter(5));
    let root = format::read(&a.document);
    assert_eq!(root.get("cards").unwrap().get("b").unwrap().get("colour"), Some(&text("red")));
}

#[test]
fn entries_without_a_position_are_last_and_entries_without_a_value_are_skipped() {
    let item =
        |position: &str, title: &str| map([("position", scalar(position)), ("value", map([("title", text(title))]))]);
    let root = map([(
        "cards",
        map([
            ("moved", map([("position", scalar("a0"))])),
            ("odd", map([("value", map([("title", text("odd"))]))])),
            ("odd too", map([("value", map([("title", text("odd too"))]))])),
            ("second", item("a1", "second")),
            ("third", item("not a position!", "third")),
            ("third too", item("not a position!", "third too")),
            ("first", item("Zz", "first")),
        ]),
    )]);
    let mut app = App { document: AutoCommit::new() };
    format::edit(&mut app.document, &map([]), &root).unwrap();
    assert_eq!(app.titles(), ["first", "second", "third", "third too", "odd", "odd too"]);
    assert!(app.edit::<Card>(|_| ()).is_empty(), "reading the list is not an edit");
    for index in 0..7 {
        let mut expected = app.titles();
        expected.insert(index, "new".into());
        let mut document = App { document: app.document.fork() };
        document.edit::<Card>(|cards| {
            cards.insert(index, card("new"));
        });
        assert_eq!(document.titles(), expected);
    }
    let root = format::read(&app.document);
    assert!(root.get("cards").unwrap().get("moved").is_some(), "skipped entries are not removed");
}

#[test]
fn an_index_beyond_the_end_means_the_end() {
    let mut list = KeyedList::new();
    let a = list.insert(7, 'a');
    let b = list.insert(7, 'b');
    assert!(list.move_to(&a, 100));
    assert_eq!(list.iter().collect::<Vec<_>>(), [(&b, &'b'), (&a, &'a')]);
    assert!(!list.move_to("nothing", 0));
    assert_eq!(list.remove("nothing"), None);
    assert_eq!(list.insert_with_key(0, a.clone(), 'c'), Some('a'));
    assert_eq!(list.values().collect::<String>(), "cb");
}

#[test]
fn ten_thousand_appended_items_have_short_positions() {
    let list: KeyedList<u32> = (0..10_000).collect();
    let Value::Map(items) = format::to_value(&list).unwrap().into_plain() else { panic!("a list is a map") };
    assert!(items.values().all(|item| item.get("position").and_then(Value::as_str).unwrap().len() <= 6));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Move(prop::sample::Index, prop::sample::Index),
    Set(prop::sample::Index, u8),
    Sort,
    Retain(u8),
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(index, value)| Step::Insert(index, value)),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
        3 => any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(from, to)| Step::Move(from, to)),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(index, value)| Step::Set(index, value)),
        1 => Just(Step::Sort),
        1 => (2..5u8).prop_map(Step::Retain),
        1 => Just(Step::Reload),
    ]
}

fn take(list: &mut KeyedList<u8>, model: &mut Vec<(ItemKey, u8)>, step: Step) {
    let len = model.len();
    match step {
        Step::Insert(index, value) => {
            let index = index.index(len + 1);
            let key = list.insert(index, value);
            model.insert(index, (key, value));
        }
        Step::Sort => {
            list.sort_by(|a, b| a.cmp(b));
            model.sort_by_key(|(_, value)| *value);
        }
        Step::Retain(by) => {
            list.retain(|_, value| *value % by != 0);
            model.retain(|(_, value)| value % by != 0);
        }
        Step::Reload => *list = format::from_value(&format::to_value(&*list).unwrap()).unwrap(),
        _ if len == 0 => {}
        Step::Remove(index) => {
            let (key, value) = model.remove(index.index(len));
            assert_eq!(list.remove(&key), Some(value));
        }
        Step::Move(from, to) => {
            let item = model.remove(from.index(len));
            assert!(list.move_to(&item.0, to.index(len)));
            model.insert(to.index(len), item);
        }
        Step::Set(index, value) => {
            model[index.index(len)].1 = value;
            *list.get_mut(&model[index.index(len)].0).unwrap() = value;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_list_behaves_like_a_vec(steps in prop::collection::vec(step(), 0..60)) {
        let (mut list, mut model) = (KeyedList::new(), Vec::new());
        for step in steps {
            take(&mut list, &mut model, step);
            prop_assert_eq!(list.clone().into_iter().collect::<Vec<_>>(), &model[..]);
            for (index, (key, value)) in model.iter().enumerate() {
                prop_assert_eq!((list.position_of(key), list.get(key)), (Some(index), Some(value)));
            }
        }
        let value = format::to_value(&list).unwrap();
        prop_assert_eq!(format::from_value::<KeyedList<u8>>(&value).unwrap(), list);
    }

    #[test]
    fn two_apps_agree_after_any_concurrent_edits_and_have_each_item_once(
        start in prop::collection::vec(any::<u8>(), 0..8),
        ours in prop::collection::vec(step(), 0..12),
        theirs in prop::collection::vec(step(), 0..12),
    ) {
        let list = KeyedList::from_iter(start);
        let base = format::to_value(&Board { cards: list.clone() }).unwrap();
        let mut a = AutoCommit::new().with_actor(ActorId::from([1; 16]));
        format::edit(&mut a, &map([]), &base).unwrap();
        let mut b = a.fork().with_actor(ActorId::from([2; 16]));
        let model: Vec<_> = list.clone().into_iter().collect();
        let (mut of_a, mut of_b) = ((list.clone(), model.clone()), (list, model.clone()));
        for (app, shown, steps) in [(&mut a, &mut of_a, ours), (&mut b, &mut of_b, theirs)] {
            for step in steps {
                let view = format::to_value(&Board { cards: shown.0.clone() }).unwrap();
                take(&mut shown.0, &mut shown.1, step);
                format::edit(app, &view, &format::to_value(&Board { cards: shown.0.clone() }).unwrap()).unwrap();
            }
        }
        a.merge(&mut b).unwrap();
        b.merge(&mut a).unwrap();
        let read = |document: &AutoCommit| format::from_document::<Board<u8>>(&format::read(document)).unwrap().cards;
        let merged = read(&a);
        prop_assert_eq!(&read(&b), &merged);
        // The list has the items of both and those that one of them added.
        let known = |key: &ItemKey| model.iter().any(|(known, _)| known == key);
        let mut expected: Vec<&ItemKey> = of_a.0.keys().chain(of_b.0.keys())
            .filter(|key| !known(key) || of_a.0.contains_key(key) && of_b.0.contains_key(key))
            .collect();
        expected.sort();
        expected.dedup();
        let mut keys: Vec<&ItemKey> = merged.keys().collect();
        keys.sort();
        prop_assert_eq!(keys, expected);
    }
}
