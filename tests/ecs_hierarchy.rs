//! `ChildOf` and the documents stay in step.

mod common;

use std::any::Any;

use bevy::prelude::*;
use bevy_convex_replicate::{format::Value, prelude::*};
use common::*;

type Parent = DocumentParent<Task>;

fn family() -> World1 {
    world(|app| {
        app.replicate_components::<(Task, Parent)>("tasks").replicate_hierarchy::<Task>();
    })
}

fn content(text: &str, parent: Option<Option<&str>>) -> Option<Box<dyn Any + Send>> {
    let parent = parent.map(|parent| Parent { parent: parent.map(DocumentRef::new) });
    Some(Box::new((Some(task(text)), parent)))
}

/// The entity that this document is a child of.
fn parent_of(world: &World1, name: &str) -> Option<Entity> {
    world.app.world().get::<ChildOf>(world.entity(name)?).map(ChildOf::parent)
}

fn shown(world: &mut World1, documents: &[(&str, Option<&str>)]) {
    for (name, parent) in documents {
        world.deliver_content(name, 1, 0, content(name, Some(*parent)), Origin::Remote);
    }
    world.frame();
    assert_eq!(edits(world), []);
}

fn edits(world: &mut World1) -> Vec<Sent> {
    world.sent().into_iter().filter(Sent::is_edit).collect()
}

/// The parents that were edited, by document.
fn parents(sent: &[Sent]) -> Vec<(String, Value)> {
    sent.iter()
        .filter_map(|sent| match sent {
            Sent::Put { id, value, .. } => Some((id.clone(), value.get("parent")?.clone())),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn scalar(name: &str) -> Value {
    Value::Scalar(name.into())
}

fn spawn(world: &mut World1, name: &str) -> Entity {
    world.app.world_mut().spawn((task(name), id(name))).id()
}

#[test]
fn a_local_child_of_is_an_edit() {
    let mut world = family();
    let (house, hole) = (spawn(&mut world, "house"), spawn(&mut world, "hole"));
    world.app.world_mut().entity_mut(hole).insert(ChildOf(house));
    assert_eq!(parents(&world.edits_by_frame()), [("hole".into(), scalar("house"))]);
    let garden = spawn(&mut world, "garden");
    world.edits_by_frame();
    world.app.world_mut().entity_mut(hole).insert(ChildOf(garden));
    assert_eq!(parents(&world.edits_by_frame()), [("hole".into(), scalar("garden"))]);
    world.app.world_mut().entity_mut(hole).remove::<ChildOf>();
    assert_eq!(parents(&world.edits_by_frame()), [("hole".into(), Value::Null)]);
    assert_eq!(world.edits_by_frame(), []);
    world.app.world_mut().entity_mut(house).add_child(hole);
    assert_eq!(parents(&world.edits_by_frame()), [("hole".into(), scalar("house"))]);
    world.app.world_mut().entity_mut(house).detach_all_children();
    assert_eq!(parents(&world.edits_by_frame()), [("hole".into(), Value::Null)]);
    assert_eq!(world.failures(), []);
}

#[test]
fn documents_spawned_as_a_family_name_their_parents() {
    let mut world = family();
    world.queue(|commands| {
        commands.spawn((task("house"), id("house"))).with_children(|house| {
            house.spawn((task("hole"), id("hole"))).with_child((task("spade"), id("spade")));
        });
    });
    let named = [("hole".into(), scalar("house")), ("spade".into(), scalar("hole"))];
    let mut edited = parents(&world.edits_by_frame());
    edited.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(edited, named);
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn entities_that_become_documents_later_name_their_parents_too() {
    let mut world = family();
    let house = world.app.world_mut().spawn(task("house")).id();
    let hole = world.app.world_mut().spawn((task("hole"), id("hole"), ChildOf(house))).id();
    assert_eq!(parents(&world.edits_by_frame()), [], "its parent is no document");
    world.app.world_mut().entity_mut(house).insert(id("house"));
    assert_eq!(parents(&world.edits_by_frame()), [("hole".into(), scalar("house"))]);
    let spade = world.app.world_mut().spawn((task("spade"), ChildOf(hole))).id();
    world.edits_by_frame();
    world.app.world_mut().entity_mut(spade).insert(id("spade"));
    assert_eq!(parents(&world.edits_by_frame()), [("spade".into(), scalar("hole"))]);
}

#[test]
fn a_parent_named_elsewhere_becomes_child_of_whichever_arrives_first() {
    for child_first in [true, false] {
        let mut world = family();
        let mut documents = [("house", None), ("hole", Some("house"))];
        if child_first {
            documents.reverse();
        }
        for document in documents {
            shown(&mut world, &[document]);
        }
        assert_eq!(parent_of(&world, "hole"), world.entity("house"));
        assert_eq!(world.edits_by_frame(), [], "it is no edit");
        // The document is moved, and then removed from its parent.
        shown(&mut world, &[("garden", None)]);
        world.deliver_content("hole", 2, 0, content("hole", Some(Some("garden"))), Origin::Remote);
        world.frame();
        assert_eq!(parent_of(&world, "hole"), world.entity("garden"));
        world.deliver_content("hole", 3, 0, content("hole", Some(None)), Origin::Remote);
        world.frame();
        assert_eq!(parent_of(&world, "hole"), None);
        assert_eq!(world.edits_by_frame(), []);
        assert_eq!(world.failures(), []);
    }
}

#[test]
fn a_component_written_by_the_app_itself_becomes_child_of() {
    let mut world = family();
    let house = spawn(&mut world, "house");
    let hole = world.app.world_mut().spawn((task("hole"), id("hole"), Parent::new("house"))).id();
    world.frame();
    assert_eq!(parent_of(&world, "hole"), Some(house));
    edits(&mut world);
    world.app.world_mut().get_mut::<Parent>(hole).unwrap().parent = None;
    assert_eq!(parents(&world.edits_by_frame()), [("hole".into(), Value::Null)]);
    world.compared("hole", 2, &["parent"]);
    world.frame();
    assert_eq!(parent_of(&world, "hole"), None);
}

#[test]
fn a_cycle_is_cut_at_the_smallest_name_in_any_order_of_arrival() {
    let documents = [("a", Some("c")), ("b", Some("a")), ("c", Some("b")), ("d", Some("a")), ("self", Some("self"))];
    let orders = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 3, 1, 4], [1, 4, 0, 2, 3]];
    for order in orders {
        for one_by_one in [true, false] {
            let mut world = family();
            let mut ordered: Vec<_> = order.iter().map(|at| documents[*at]).collect();
            if one_by_one {
                ordered.drain(..).for_each(|document| shown(&mut world, &[document]));
            } else {
                shown(&mut world, &ordered);
            }
            let parents: Vec<_> = ["a", "b", "c", "d", "self"].iter().map(|name| parent_of(&world, name)).collect();
            let [a, b] = ["a", "b"].map(|name| world.entity(name));
            assert_eq!(parents, [None, a, b, a, None], "{order:?}");
            assert_eq!(world.edits_by_frame(), [], "nothing is written");
            // A change of a parent in the cycle resolves it.
            world.deliver_content("c", 2, 0, content("c", Some(None)), Origin::Remote);
            world.frame();
            let parents: Vec<_> = ["a", "b", "c"].iter().map(|name| parent_of(&world, name)).collect();
            assert_eq!(parents, [world.entity("c"), a, None]);
            assert_eq!(world.edits_by_frame(), []);
        }
    }
}

#[test]
fn a_cycle_made_by_the_app_itself_is_cut_too() {
    let mut world = family();
    let (a, b) = (spawn(&mut world, "a"), spawn(&mut world, "b"));
    world.app.world_mut().entity_mut(b).insert(ChildOf(a));
    world.frame();
    world.app.world_mut().entity_mut(a).insert(ChildOf(b));
    world.frame();
    assert_eq!((parent_of(&world, "a"), parent_of(&world, "b")), (None, Some(a)));
}

#[test]
fn two_parents_that_swap_places_make_no_cycle_in_between() {
    let mut world = family();
    shown(&mut world, &[("a", None), ("b", Some("a")), ("c", Some("b"))]);
    world.deliver_content("a", 2, 0, content("a", Some(Some("c"))), Origin::Remote);
    world.deliver_content("b", 2, 0, content("b", Some(None)), Origin::Remote);
    world.frame();
    assert_eq!((parent_of(&world, "a"), parent_of(&world, "b")), (world.entity("c"), None));
    assert_eq!(parent_of(&world, "c"), world.entity("b"));
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn a_document_deleted_elsewhere_does_not_take_its_children_along() {
    let mut world = family();
    shown(&mut world, &[("house", None), ("hole", Some("house")), ("spade", Some("hole"))]);
    let house = world.entity("house").unwrap();
    // The lamp in the house is no document, but the bulb in it is one.
    let lamp = world.app.world_mut().spawn(ChildOf(house)).id();
    let bulb = world.app.world_mut().spawn((task("bulb"), id("bulb"), ChildOf(lamp))).id();
    world.edits_by_frame();
    world.deliver_content("house", 2, 0, None, Origin::Remote);
    assert_eq!(world.edits_by_frame(), [], "the children were not edited");
    assert!(world.app.world().get_entity(house).is_err() && world.app.world().get_entity(lamp).is_err());
    assert_eq!(world.entity("bulb"), Some(bulb));
    assert_eq!((parent_of(&world, "hole"), parent_of(&world, "spade")), (None, world.entity("hole")));
    // They still name the house, so they are its children again when it is restored.
    world.deliver_content("house", 3, 0, content("house", Some(None)), Origin::Remote);
    world.frame();
    assert_eq!(parent_of(&world, "hole"), world.entity("house"));
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn a_document_deleted_here_does_not_take_its_children_along_either() {
    let mut world = family();
    shown(&mut world, &[("house", None), ("hole", Some("house"))]);
    let house = world.entity("house").unwrap();
    world.queue(|commands| {
        commands.entity(house).delete_document();
    });
    let sent = world.edits_by_frame();
    assert!(matches!(&sent[..], [Sent::Delete { id, .. }] if id == "house"), "{sent:?}");
    assert!(world.entity("hole").is_some());
}

#[test]
fn despawning_a_parent_hides_the_children_and_edits_nothing() {
    let mut world = family();
    shown(&mut world, &[("house", None), ("hole", Some("house"))]);
    let house = world.entity("house").unwrap();
    world.app.world_mut().despawn(house);
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(world.entity("hole"), None);
    world.run(|mut tasks: Collection<Task>| tasks.show_all());
    let mut asked = world.sent();
    asked.extend(world.sent_by_frame());
    assert_eq!(asked.len(), 2, "{asked:?}");
    world.deliver_content("hole", 2, 0, content("hole", Some(Some("house"))), Origin::Stored);
    world.deliver_content("house", 2, 0, content("house", Some(None)), Origin::Stored);
    world.frame();
    assert_eq!(parent_of(&world, "hole"), world.entity("house"));
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn a_parent_that_is_no_document_is_the_apps_own() {
    let mut world = family();
    let root = world.app.world_mut().spawn_empty().id();
    shown(&mut world, &[("hole", Some("house"))]);
    let hole = world.entity("hole").unwrap();
    world.app.world_mut().entity_mut(hole).insert(ChildOf(root));
    assert_eq!(world.edits_by_frame(), [], "the document still waits for its parent");
    shown(&mut world, &[("house", None)]);
    assert_eq!(parent_of(&world, "hole"), world.entity("house"));
    // The document leaves the house, for everyone.
    world.app.world_mut().entity_mut(hole).insert(ChildOf(root));
    assert_eq!(parents(&world.edits_by_frame()), [("hole".into(), Value::Null)]);
    assert_eq!(parent_of(&world, "hole"), Some(root));
    assert_eq!(world.edits_by_frame(), []);
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Room {
    name: String,
}

#[test]
fn parents_may_be_of_another_collection() {
    let mut world = world(|app| {
        app.replicate_components::<(Task, DocumentParent<Room>)>("tasks")
            .replicate::<Room>("rooms")
            .replicate_hierarchy::<Room>();
    });
    let room = world.app.world_mut().spawn((Room { name: "hall".into() }, id("same"))).id();
    let hole = world.app.world_mut().spawn((task("hole"), id("same"), ChildOf(room))).id();
    let sent = world.edits_by_frame();
    assert_eq!(parents(&sent), [("same".into(), scalar("same"))]);
    // A parent of the wrong collection is reported, and the document leaves the right one.
    let other = world.app.world_mut().spawn((task("other"), id("other"))).id();
    world.app.world_mut().entity_mut(hole).insert(ChildOf(other));
    assert_eq!(parents(&world.edits_by_frame()), [("same".into(), Value::Null)]);
    let failures = world.failures();
    assert!(failures.len() == 1 && failures[0].message.contains("rooms"), "{failures:?}");
}

#[test]
fn a_cycle_through_several_collections_is_cut_at_the_smallest_collection() {
    let mut world = world(|app| {
        app.replicate_components::<(Task, DocumentParent<Room>)>("tasks")
            .replicate_components::<(Room, Parent)>("rooms")
            .replicate_hierarchy::<Room>()
            .replicate_hierarchy::<Task>();
    });
    let hall = Room { name: "hall".into() };
    let app = world.app.world_mut();
    let hole = app.spawn((task("hole"), DocumentParent::<Room>::new("z"), id("a"))).id();
    let room = app.spawn((hall, DocumentParent::<Task>::new("a"), id("z"))).id();
    world.frame();
    let app = world.app.world();
    assert_eq!(app.get::<ChildOf>(hole).map(ChildOf::parent), Some(room));
    assert_eq!(app.get::<ChildOf>(room), None, "`rooms` comes before `tasks`");
}

#[test]
fn two_collections_may_have_the_same_parents() {
    let mut world = world(|app| {
        app.replicate_components::<(Task, DocumentParent<Room>)>("tasks")
            .replicate_components::<(Lamp, DocumentParent<Room>)>("lamps")
            .replicate::<Room>("rooms")
            .replicate_hierarchy::<Room>();
    });
    let hall = world.app.world_mut().spawn((Room { name: "hall".into() }, id("hall"))).id();
    world.app.world_mut().spawn((task("hole"), id("a"), ChildOf(hall)));
    world.app.world_mut().spawn((Lamp { watts: 4 }, id("b"), ChildOf(hall)));
    let edits = world.edits_by_frame();
    assert_eq!(parents(&edits), [("a".into(), scalar("hall")), ("b".into(), scalar("hall"))]);
    assert_eq!(world.failures(), []);
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Lamp {
    watts: u8,
}

#[test]
fn a_hidden_child_that_is_spawned_again_has_the_stored_parent() {
    let mut world = family();
    shown(&mut world, &[("house", None), ("garden", None), ("hole", Some("house"))]);
    let [garden, hole] = ["garden", "hole"].map(|name| world.entity(name).unwrap());
    world.app.world_mut().despawn(hole);
    world.app.world_mut().spawn((task("default"), id("hole"), ChildOf(garden)));
    assert_eq!(world.sent_by_frame(), [Sent::Show("hole".into())]);
    world.deliver_content("hole", 2, 0, content("hole", Some(Some("house"))), Origin::Stored);
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(parent_of(&world, "hole"), world.entity("house"));
}

#[test]
fn a_despawned_child_keeps_its_parent() {
    let mut world = family();
    shown(&mut world, &[("house", None), ("hole", Some("house"))]);
    let hole = world.entity("hole").unwrap();
    world.app.world_mut().despawn(hole);
    assert_eq!(world.edits_by_frame(), []);
    // An edit in the frame of the despawn is sent.
    let spade = spawn(&mut world, "spade");
    world.edits_by_frame();
    let house = world.entity("house").unwrap();
    world.queue(|commands| {
        commands.entity(spade).insert(Parent::default());
    });
    world.edits_by_frame();
    world.queue(|commands| {
        commands.entity(spade).insert(ChildOf(house));
        commands.entity(spade).despawn();
    });
    assert_eq!(parents(&world.edits_by_frame()), [("spade".into(), scalar("house"))]);
}

/// The `ChildOf` that follows from the shown documents by the rules in docs/ecs.md.
fn expected(world: &World1, names: &[&str], name: &str) -> Option<Entity> {
    let shown = |name: &str| names.iter().copied().find(|known| *known == name && world.entity(known).is_some());
    let parent_of = |name: &str| {
        let parent = world.app.world().get::<Parent>(world.entity(name)?)?.parent.clone()?;
        shown(parent.id().as_str())
    };
    let parent = parent_of(name)?;
    let (mut cycle, mut at) = (vec![name], parent);
    while at != name {
        if cycle.len() > names.len() {
            return world.entity(parent);
        }
        cycle.push(at);
        match parent_of(at) {
            Some(next) => at = next,
            None => return world.entity(parent),
        }
    }
    (cycle.iter().min() != Some(&name)).then(|| world.entity(parent)).flatten()
}

#[test]
fn the_family_follows_from_the_documents_in_any_order_of_arrival() {
    use rand::{Rng, SeedableRng, rngs::SmallRng};
    const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
    for seed in 0..200 {
        // In every second run this app moves documents too.
        let is_local = seed % 2 == 1;
        let mut random = SmallRng::seed_from_u64(seed);
        let mut world = family();
        let mut generations = [0_u64; NAMES.len()];
        for step in 0..40 {
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..NAMES.len());
                let name = NAMES[at];
                match random.random_range(0..if is_local { 14 } else { 10 }) {
                    10..14 => {
                        let other = world.entity(NAMES[random.random_range(0..NAMES.len())]);
                        let Some(entity) = world.entity(name) else { continue };
                        let mut entity = world.app.world_mut().entity_mut(entity);
                        match other {
                            Some(other) => entity.insert(ChildOf(other)),
                            None => entity.remove::<ChildOf>(),
                        };
                    }
                    // Another app makes, moves or restores it.
                    0..7 => {
                        generations[at] += 1;
                        let parent = NAMES.get(random.random_range(0..NAMES.len() + 2)).copied();
                        world.deliver_content(name, generations[at], 99, content(name, Some(parent)), Origin::Remote);
                    }
                    7 => {
                        generations[at] += 1;
                        world.deliver_content(name, generations[at], 99, None, Origin::Remote);
                    }
                    8 => {
                        if let Some(entity) = world.entity(name) {
                            world.app.world_mut().despawn(entity);
                        }
                    }
                    _ => world.run(|mut tasks: Collection<Task>| tasks.show_all()),
                }
            }
            world.frame();
            assert!(is_local || edits(&mut world).is_empty(), "seed {seed}, step {step}");
            for name in NAMES.into_iter().filter(|name| world.entity(name).is_some()) {
                assert_eq!(parent_of(&world, name), expected(&world, &NAMES, name), "seed {seed}, step {step}: {name}");
            }
        }
        assert_eq!(world.failures(), []);
    }
}
