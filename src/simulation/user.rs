//! A user, who edits documents.

use bevy::prelude::Entity;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{
    fault::{Fault, Faults},
    note::{NewNote, NoteVersion, OldNote, Settings, Version},
    oracle::{Done, NOTES, SETTINGS},
};
use crate::{
    DocumentId,
    ecs::{DocumentIndex, document},
};

/// A user of an app.
pub(super) struct User<'a> {
    pub(super) rng: &'a mut StdRng,
    pub(super) faults: &'a Faults,
    /// The app's name. The user's documents have this name and a number.
    pub(super) name: &'a str,
    /// Documents of which the present frame gets a version. The user prefers them, because an edit that was not
    /// captured yet and a version of the same document must not overwrite each other.
    pub(super) arriving: &'a [DocumentId],
    /// A counter that makes each letter, item and value new.
    pub(super) next: &'a mut u32,
}

/// The edits of a user in a frame.
pub(super) type Deeds = Vec<(DocumentId, Done)>;

/// The first of the letters. Each is one grapheme: a Chinese character.
const FIRST_LETTER: u32 = 0x4E00;

/// Makes one edit.
pub(super) fn work(world: &mut bevy::prelude::World, fields: NoteVersion, user: &mut User<'_>, deeds: &mut Deeds) {
    match fields {
        NoteVersion::Old => work_as::<OldNote>(world, user, deeds),
        NoteVersion::New => work_as::<NewNote>(world, user, deeds),
    }
    world.flush();
}

fn work_as<V: Version>(world: &mut bevy::prelude::World, user: &mut User<'_>, deeds: &mut Deeds) {
    let index = world.resource::<DocumentIndex>();
    // The documents are sorted, so that each run with the same seed edits the same ones.
    let mut all: Vec<(DocumentId, Option<Entity>, bool)> = index
        .of_collection(NOTES)
        .map(|slot| {
            let entry = index.entry(slot);
            (entry.key.id.clone(), entry.entity(), entry.is_deleted())
        })
        .collect();
    all.sort();
    let of_one = user.faults.has(Fault::OneDocument);
    let wants_one = all.is_empty() || (!of_one && all.len() < 8 && user.rng.random_bool(0.15));
    if wants_one {
        let id = DocumentId::new(format!("{}-{}", user.name, user.next));
        *user.next += 1;
        let mut note = V::default();
        let done = edit(&mut note, &id, user);
        world.spawn((note, id.clone()));
        deeds.extend(done.into_iter().map(|done| (id.clone(), done)));
        return;
    }
    if user.faults.has(Fault::SameName) && user.rng.random_bool(0.1) {
        return settings(world, user);
    }
    let mut arriving: Vec<_> = all.iter().filter(|(id, ..)| user.arriving.contains(id)).cloned().collect();
    if arriving.is_empty() || user.rng.random_bool(0.5) {
        arriving = all;
    }
    let Some((id, entity, deleted)) = arriving.choose(user.rng).cloned() else { return };
    let often = if user.faults.has(Fault::Prune) { 0.2 } else { 0.05 };
    match entity {
        Some(entity) if user.faults.has(Fault::Delete) && user.rng.random_bool(often) => {
            document::delete_entity(world, entity);
        }
        Some(entity) if user.faults.has(Fault::Hide) && user.rng.random_bool(0.08) => drop(world.despawn(entity)),
        Some(entity) => {
            let Some(mut note) = world.get_mut::<V>(entity) else { return };
            let done = edit(&mut *note, &id, user);
            deeds.extend(done.into_iter().map(|done| (id.clone(), done)));
        }
        // A document that is restored is not pruned.
        None if deleted && user.faults.has(Fault::Prune) && user.rng.random_bool(0.7) => {}
        None if deleted && user.faults.has(Fault::Delete) => document::restore(world, NOTES, &id),
        None if user.faults.has(Fault::Hide) => document::show(world, NOTES, &id),
        None => {}
    }
}

/// Makes one edit of a note.
fn edit<V: Version>(note: &mut V, id: &DocumentId, user: &mut User<'_>) -> Vec<Done> {
    let rng = &mut *user.rng;
    let removes = user.faults.has(Fault::Remove) && rng.random_bool(0.25);
    let fresh = *user.next;
    *user.next += 1;
    match rng.random_range(0..10) {
        0..4 => {
            let text = note.text();
            let letters: Vec<char> = text.chars().collect();
            if removes && !letters.is_empty() {
                let at = rng.random_range(0..letters.len());
                *text =
                    letters.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, letter)| letter).collect();
                return vec![Done::LetterGone(letters[at])];
            }
            let at = rng.random_range(0..=letters.len());
            let Some(letter) = char::from_u32(FIRST_LETTER + fresh) else { return Vec::new() };
            let (before, after) = letters.split_at(at);
            *text = before.iter().chain([&letter]).chain(after).collect();
            vec![Done::Letter(letter)]
        }
        4..6 => {
            let count = rng.random_range(-2..=3);
            *note.votes() += count;
            vec![Done::Votes(count)]
        }
        6..8 => {
            let items = note.items();
            if removes && !items.is_empty() {
                return vec![Done::ItemGone(items.remove(rng.random_range(0..items.len())))];
            }
            items.insert(rng.random_range(0..=items.len()), i64::from(fresh));
            vec![Done::Item(i64::from(fresh))]
        }
        8 if id.as_str().starts_with(user.name) => {
            *note.own() = i64::from(fresh);
            vec![Done::Own(i64::from(fresh))]
        }
        _ => {
            if rng.random() {
                *note.done() = !*note.done();
                return Vec::new();
            }
            note.extra(rng).into_iter().collect()
        }
    }
}

/// Makes the document that all apps make, or edits it.
fn settings(world: &mut bevy::prelude::World, user: &mut User<'_>) {
    let id = DocumentId::new("main");
    let entity = world.resource::<DocumentIndex>().entity(SETTINGS, &id);
    match entity.and_then(|entity| world.get_mut::<Settings>(entity)) {
        Some(mut settings) => match user.rng.random() {
            true => settings.volume = user.rng.random_range(0..100),
            false => settings.theme.push_str(user.name),
        },
        None => {
            let is_known = world.resource::<DocumentIndex>().find(SETTINGS, &id).is_some();
            if !is_known {
                world.spawn((Settings { theme: user.name.to_owned(), volume: 1 }, id));
            }
        }
    }
}
