//! An app: real components in a real Bevy world, and a user who works in it.

use std::{collections::BTreeMap, time::Duration};

use bevy::prelude::*;
use crossbeam_channel::{Receiver, Sender};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde::{Deserialize, Serialize};

use super::{
    fault::{Fault, Faults},
    oracle::{Done, NAMES, NOTES, Note, SETTINGS},
};
use crate::{
    DocumentId, DocumentKey,
    ecs::{ApplyBudget, Collections, DocumentIndex, Link, Replicated, document},
    format::Counter,
    plugin::{ReplicateAppExt, ReplicatePlugin},
    worker::{CollectionConfig, Command, Report},
};

/// A note as the first version of the app has it.
#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
struct OldNote {
    text: String,
    votes: Counter,
    items: Vec<i64>,
    own: i64,
    done: bool,
}

/// A note as a later version has it.
#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
struct NewNote {
    text: String,
    votes: Counter,
    items: Vec<i64>,
    own: i64,
    done: bool,
    #[serde(default)]
    colour: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
struct Settings {
    theme: String,
    volume: i64,
}

/// What the user's edits need of a version's component.
trait Version: Replicated + Default {
    fn text(&mut self) -> &mut String;
    fn votes(&mut self) -> &mut Counter;
    fn items(&mut self) -> &mut Vec<i64>;
    fn own(&mut self) -> &mut i64;
    fn done(&mut self) -> &mut bool;
    /// Edits what only this version has.
    fn extra(&mut self, rng: &mut StdRng);
    fn note(&self) -> Note;
}

macro_rules! version {
    ($note:ident, |$self:ident, $rng:ident| $extra:expr) => {
        impl Version for $note {
            fn text(&mut self) -> &mut String {
                &mut self.text
            }
            fn votes(&mut self) -> &mut Counter {
                &mut self.votes
            }
            fn items(&mut self) -> &mut Vec<i64> {
                &mut self.items
            }
            fn own(&mut self) -> &mut i64 {
                &mut self.own
            }
            fn done(&mut self) -> &mut bool {
                &mut self.done
            }
            fn extra(&mut self, $rng: &mut StdRng) {
                let $self = self;
                $extra
            }
            fn note(&self) -> Note {
                Note {
                    text: self.text.clone(),
                    votes: self.votes.0,
                    items: self.items.clone(),
                    own: self.own,
                    done: self.done,
                }
            }
        }
    };
}
version!(OldNote, |note, rng| note.done = rng.random());
version!(NewNote, |note, rng| {
    note.colour = rng.random_range(0..100);
    note.remark = rng.random_bool(0.5).then(|| format!("{}", rng.random_range(0..100)));
});

/// Which fields an app has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    Old,
    New,
}

/// An app's world, from the start of its process to the end.
pub(super) struct World {
    app: App,
    fields: Fields,
    commands: Receiver<Command>,
    reports: Sender<Report>,
}

/// Who works in an app.
pub(super) struct User<'a> {
    pub(super) rng: &'a mut StdRng,
    pub(super) faults: &'a Faults,
    /// Names the app: it makes documents of that name with a number.
    pub(super) name: &'a str,
    /// Makes letters, items and values that there were not before.
    pub(super) next: &'a mut u32,
}

/// What a user did in a frame.
pub(super) type Deeds = Vec<(DocumentId, Done)>;

/// What a system in the middle of the frame does.
#[derive(Resource, Default)]
struct Script(Option<Deed>);

type Deed = Box<dyn FnOnce(&mut bevy::prelude::World) + Send + Sync>;

/// Letters that are one grapheme each: Chinese characters.
const FIRST_LETTER: u32 = 0x4E00;

impl World {
    pub(super) fn new(fields: Fields, budget: Duration, waits: bool) -> Self {
        let (link, commands, reports) = Link::channels();
        let mut app = App::new();
        app.add_plugins(ReplicatePlugin::new("simulated")).insert_resource(link).init_resource::<Script>();
        match fields {
            Fields::Old => app.replicate::<OldNote>(NAMES[0]),
            Fields::New => app.replicate::<NewNote>(NAMES[0]),
        };
        app.replicate::<Settings>(NAMES[1]);
        // Never by the clock: zero looks at the fewest, an hour at all; a version that waits does so for a number of frames, or until there is a newer one.
        let wait = if waits { Duration::from_secs(3_600) } else { Duration::ZERO };
        app.insert_resource(ApplyBudget { frame: budget, wait });
        app.add_systems(Update, |world: &mut bevy::prelude::World| {
            if let Some(script) = world.resource_mut::<Script>().0.take() {
                script(world);
            }
        });
        app.finish();
        app.cleanup();
        Self { app, fields, commands, reports }
    }

    /// What the worker needs of the collections.
    pub(super) fn collections(&mut self) -> Vec<CollectionConfig> {
        self.app.world_mut().resource_mut::<Collections>().seal()
    }

    pub(super) fn report(&self, report: Report) {
        // We hold the other end.
        let _ = self.reports.send(report);
    }

    /// Runs a frame. The user works in the middle of it, and `early` before it begins.
    pub(super) fn frame(&mut self, early: usize, edits: usize, user: &mut User<'_>) -> Deeds {
        let mut deeds = self.between(early, user);
        if edits == 0 {
            self.app.update();
            return deeds;
        }
        // The script has a life of its own, so it takes what it needs along.
        let made = std::sync::Arc::new(std::sync::Mutex::new(None));
        let mut rng: StdRng = rand::SeedableRng::seed_from_u64(user.rng.random());
        let (name, mut next, fields) = (user.name.to_owned(), *user.next, self.fields);
        let faults = Faults::of(user.faults.all());
        let taken = made.clone();
        self.app.world_mut().resource_mut::<Script>().0 = Some(Box::new(move |world| {
            let mut deeds = Vec::new();
            for _ in 0..edits {
                let mut user = User { rng: &mut rng, faults: &faults, name: &name, next: &mut next };
                work(world, fields, &mut user, &mut deeds);
            }
            if let Ok(mut made) = taken.lock() {
                *made = Some((deeds, next));
            }
        }));
        self.app.update();
        if let Some((more, next)) = made.lock().ok().and_then(|mut made| made.take()) {
            deeds.extend(more);
            *user.next = next;
        }
        deeds
    }

    /// The user works between two frames.
    pub(super) fn between(&mut self, edits: usize, user: &mut User<'_>) -> Deeds {
        let mut deeds = Vec::new();
        for _ in 0..edits {
            work(self.app.world_mut(), self.fields, user, &mut deeds);
        }
        deeds
    }

    /// What the frames have sent to the worker.
    pub(super) fn next_command(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    /// Brings everything that was hidden back.
    pub(super) fn show_all(&mut self) {
        document::show_all(self.app.world_mut(), NOTES);
        document::show_all(self.app.world_mut(), SETTINGS);
    }

    /// Whether a version waits to be shown.
    pub(super) fn is_waiting(&self) -> bool {
        let index = self.app.world().resource::<DocumentIndex>();
        [NOTES, SETTINGS]
            .into_iter()
            .flat_map(|of| index.of_collection(of))
            .any(|slot| index.entry(slot).pending.is_some())
    }

    /// The notes that are shown.
    pub(super) fn notes(&self) -> BTreeMap<DocumentId, Note> {
        let world = self.app.world();
        shown(world, |entity| match self.fields {
            Fields::Old => world.get::<OldNote>(entity).map(Version::note),
            Fields::New => world.get::<NewNote>(entity).map(Version::note),
        })
    }

    /// The settings that are shown.
    pub(super) fn settings(&self) -> Vec<(DocumentId, String, i64)> {
        let world = self.app.world();
        let index = world.resource::<DocumentIndex>();
        let mut all: Vec<_> = index
            .of_collection(SETTINGS)
            .filter_map(|slot| {
                let entry = index.entry(slot);
                let settings = world.get::<Settings>(entry.entity?)?;
                Some((entry.key.id.clone(), settings.theme.clone(), settings.volume))
            })
            .collect();
        all.sort();
        all
    }
}

fn shown(world: &bevy::prelude::World, note: impl Fn(Entity) -> Option<Note>) -> BTreeMap<DocumentId, Note> {
    let index = world.resource::<DocumentIndex>();
    index
        .of_collection(NOTES)
        .filter_map(|slot| {
            let entry = index.entry(slot);
            Some((entry.key.id.clone(), note(entry.entity?)?))
        })
        .collect()
}

/// The user does one thing.
fn work(world: &mut bevy::prelude::World, fields: Fields, user: &mut User<'_>, deeds: &mut Deeds) {
    match fields {
        Fields::Old => work_as::<OldNote>(world, user, deeds),
        Fields::New => work_as::<NewNote>(world, user, deeds),
    }
    world.flush();
}

fn work_as<V: Version>(world: &mut bevy::prelude::World, user: &mut User<'_>, deeds: &mut Deeds) {
    let index = world.resource::<DocumentIndex>();
    // In an order that is the same each time.
    let mut all: Vec<(DocumentId, Option<Entity>, bool)> = index
        .of_collection(NOTES)
        .map(|slot| {
            let entry = index.entry(slot);
            (entry.key.id.clone(), entry.entity, entry.deleted)
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
    let Some((id, entity, deleted)) = all.choose(user.rng).cloned() else { return };
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
        None if deleted && user.faults.has(Fault::Delete) => document::restore(world, NOTES, &id),
        None if user.faults.has(Fault::Hide) => document::show(world, NOTES, &id),
        None => {}
    }
}

/// One edit of a note.
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
            match rng.random() {
                true => *note.done() = !*note.done(),
                false => note.extra(rng),
            }
            Vec::new()
        }
    }
}

/// Makes the document that everyone makes, or edits it.
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

/// A command in a few words, for the trace.
pub(super) fn describe(command: &Command) -> String {
    use crate::worker::Captured;
    let of = |document: &DocumentKey| format!("{}/{}", NAMES[usize::from(document.collection.0)], document.id);
    match command {
        Command::Edit { document, generation, capture, change } => {
            let change = match change {
                Captured::Put(value) => match value.encode() {
                    Ok((value, _)) => value.to_json_text(),
                    Err(error) => error.to_string(),
                },
                Captured::Delete => "deleted".into(),
                Captured::Restore => "restored".into(),
            };
            format!("edit {} g{generation} c{capture} {change}", of(document))
        }
        Command::Applied(shown) => {
            let shown: Vec<_> = shown.iter().map(|(key, generation)| format!("{} g{generation}", of(key))).collect();
            format!("applied {}", shown.join(", "))
        }
        Command::Show(document) => format!("show {}", of(document)),
        Command::Online(online) => format!("online {online}"),
        Command::Retry => "retry".into(),
        Command::RebuildStore => "rebuild the store".into(),
    }
}
