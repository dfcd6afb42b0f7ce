//! Law 6: an item of a list stays one item.

use super::*;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Step {
    id: Scalar,
    text: String,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct List {
    steps: Vec<Step>,
}

fn step(id: &str) -> Step {
    Step { id: scalar(id), text: id.into() }
}

fn ids(list: &List) -> Vec<&str> {
    list.steps.iter().map(|step| step.id.as_str()).collect()
}

fn start() -> List {
    List { steps: ["a", "b", "c", "d"].map(step).to_vec() }
}

#[test]
fn an_item_that_two_apps_move_is_shown_once_and_the_next_edit_removes_its_copy() {
    let (mut one, mut other, mut log) = pair(start());
    one.edit(|list| {
        let step = list.steps.remove(0);
        list.steps.push(step);
    });
    other.edit(|list| {
        let step = list.steps.remove(0);
        list.steps.insert(2, step);
    });
    meet(&mut one, &mut other, &mut log);
    assert_eq!(one.shown(), other.shown());
    let mut shown = ids(one.shown());
    shown.sort_unstable();
    assert_eq!(shown, ["a", "b", "c", "d"]);
    one.edit(|list| list.steps.push(step("e")));
    meet(&mut one, &mut other, &mut log);
    let Some(Value::List(held)) = one.value().get("steps").cloned() else { panic!("it is a list") };
    assert_eq!(held.len(), 5);
    assert_eq!(ids(other.shown()).len(), 5);
}

/// Moves the first item to the second place in both apps, so that the list has the item twice.
fn move_at_once(one: &mut App<List>, other: &mut App<List>) {
    one.edit(|list| list.steps.swap(0, 1));
    other.edit(|list| list.steps.swap(0, 1));
}

#[test]
fn an_item_that_two_apps_move_and_one_of_them_edits_can_be_removed() {
    // The edited copy comes first or second.
    for edits in [0, 1] {
        let (one, other, mut log) = pair(start());
        let mut apps = [one, other];
        let [one, other] = &mut apps;
        move_at_once(one, other);
        apps[edits].edit(|list| list.steps.iter_mut().for_each(|step| step.text.push('!')));
        let [one, other] = &mut apps;
        meet(one, other, &mut log);
        let Some(Value::List(held)) = one.value().get("steps").cloned() else { panic!("it is a list") };
        assert_eq!(held.len(), 5, "the list has the moved item twice");
        one.edit(|list| list.steps.retain(|step| step.id.as_str() == "c"));
        assert_eq!(one.value().get("steps").and_then(Value::as_list).map(<[Value]>::len), Some(1));
        meet(one, other, &mut log);
        assert_eq!(ids(one.shown()), ["c"]);
        assert_eq!(ids(other.shown()), ["c"]);
    }
}

#[test]
fn an_edit_of_a_long_list_that_has_an_item_twice_changes_the_right_item() {
    // So long that the items of the document and of the app are paired in order.
    let steps: Vec<Step> = (0..2_001).map(|number| step(&number.to_string())).collect();
    let (mut one, mut other, mut log) = pair(List { steps });
    move_at_once(&mut one, &mut other);
    meet(&mut one, &mut other, &mut log);
    one.edit(|list| list.steps[1_500].text = "edited".into());
    meet(&mut one, &mut other, &mut log);
    for app in [&one, &other] {
        let edited: Vec<&str> =
            app.shown().steps.iter().filter(|step| step.text == "edited").map(|step| step.id.as_str()).collect();
        assert_eq!((edited, app.shown().steps.len()), (vec!["1500"], 2_001));
    }
}

#[test]
fn an_edit_that_adds_an_item_twice_is_refused_with_its_place() {
    let (mut one, ..) = pair(start());
    one.edit(|list| list.steps.push(step("a")));
    let reported = one.failures.join("; ");
    assert!(reported.contains("steps[4]") && reported.contains("rename"), "{reported}");
    one.edit(|list| list.steps[4] = step("e"));
    assert_eq!(one.failures.len(), 1);
    let Some(Value::List(held)) = one.value().get("steps").cloned() else { panic!("it is a list") };
    assert_eq!(held.len(), 5);
}

#[test]
fn an_item_keeps_edits_inside_it_while_other_items_are_added_and_removed() {
    let merged = at_once(
        start(),
        |list| {
            list.steps.remove(0);
            list.steps.insert(1, step("x"));
        },
        |list| {
            list.steps[1].text.push('!');
            list.steps[3].text.push('?');
        },
    );
    let texts: Vec<_> = merged.steps.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(texts, ["b!", "x", "c", "d?"]);
}

#[test]
fn an_item_pushed_to_a_keyed_list_costs_one_change() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Keyed {
        steps: KeyedList<Step>,
    }
    let (mut one, ..) = pair(Keyed { steps: KeyedList::new() });
    let mut costs = Vec::new();
    for _ in 0..8 {
        let before = one.stored;
        one.edit(|list| drop(list.steps.push(step("a"))));
        costs.push(one.stored - before);
    }
    // A random key without a capital or without a digit is rare, and costs one more change.
    costs.sort_unstable();
    assert_eq!(costs[4], 1, "{costs:?}");
    assert_eq!(one.shown().steps.len(), 8);
}
