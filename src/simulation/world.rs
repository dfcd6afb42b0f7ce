//! An app's world: a real Bevy world with real components.

use std::{collections::BTreeMap, time::Duration};

use bevy::prelude::*;
use crossbeam_channel::{Receiver, Sender};
use rand::{Rng, rngs::StdRng};

use super::{
    fault::Faults,
    note::{NewNote, NoteVersion, OldNote, Settings, Version},
    oracle::{NAMES, NOTES, Note, SETTINGS},
    user::{Deeds, User, work},
};
use crate::{
    CollectionIndex, DocumentId,
    ecs::{self, ApplyBudget, Collections, DocumentIndex, Link, document},
    message::RefusedDocuments,
    plugin::{ReplicateAppExt, ReplicatePlugin},
    worker::{CollectionConfig, Command, Report},
};

/// An app's world, from the start of its process to the end.
pub(super) struct World {
    app: App,
    fields: NoteVersion,
    commands: Receiver<Command>,
    reports: Sender<Report>,
}

/// The work of a system in the middle of the frame.
#[derive(Resource, Default)]
struct Script(Option<Deed>);

type Deed = Box<dyn FnOnce(&mut bevy::prelude::World) + Send + Sync>;

impl World {
    pub(super) fn new(fields: NoteVersion, budget: Duration, waits: bool, rate: Option<f64>) -> Self {
        let (link, commands, reports) = Link::channels();
        let mut app = App::new();
        app.add_plugins(ReplicatePlugin::new("simulated")).insert_resource(link).init_resource::<Script>();
        match fields {
            NoteVersion::Old => app.replicate::<OldNote>(NAMES[0]),
            NoteVersion::New => app.replicate::<NewNote>(NAMES[0]),
        };
        app.replicate::<Settings>(NAMES[1]);
        if let Some(rate) = rate {
            app.rate(NAMES[0], rate).rate(NAMES[1], rate);
        }
        // Nothing may depend on the clock. A budget of zero applies the fewest documents, and a budget of an hour
        // applies all. A version waits for a number of frames, or until there is a newer version.
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

    /// The settings that the worker needs of the collections.
    pub(super) fn collections(&mut self) -> Vec<CollectionConfig> {
        self.app.world_mut().resource_mut::<Collections>().seal()
    }

    pub(super) fn report(&self, report: Report) {
        // This struct holds the other end, so sending cannot fail.
        let _ = self.reports.send(report);
    }

    /// Runs a frame. The user works in the middle of it, and `early` before it begins.
    pub(super) fn frame(&mut self, early: usize, edits: usize, user: &mut User<'_>) -> Deeds {
        let mut deeds = self.between(early, user);
        if edits == 0 {
            self.app.update();
            return deeds;
        }
        // The system cannot borrow the user, so the script owns a copy of everything it needs.
        let made = std::sync::Arc::new(std::sync::Mutex::new(None));
        let mut rng: StdRng = rand::SeedableRng::seed_from_u64(user.rng.random());
        let (name, mut next, fields) = (user.name.to_owned(), *user.next, self.fields);
        let faults = Faults::of(user.faults.all());
        let taken = made.clone();
        self.app.world_mut().resource_mut::<Script>().0 = Some(Box::new(move |world| {
            let mut deeds = Vec::new();
            for _ in 0..edits {
                let mut user = User { rng: &mut rng, faults: &faults, name: &name, arriving: &[], next: &mut next };
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

    /// The next command that the frames have sent to the worker.
    pub(super) fn next_command(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    /// The user deletes a note.
    pub(super) fn delete(&mut self, id: &DocumentId) {
        let entity = self.app.world().resource::<DocumentIndex>().entity(NOTES, id);
        if let Some(entity) = entity {
            document::delete_entity(self.app.world_mut(), entity);
        }
    }

    /// The user signs out: what was edited is captured, and the documents leave the world.
    pub(super) fn end_session(&mut self) {
        drop(ecs::end_session(self.app.world_mut()));
    }

    /// Another user signs in.
    pub(super) fn begin_session(mut self, user: Option<String>) -> Self {
        let (link, commands, reports) = Link::channels();
        ecs::begin_session(self.app.world_mut(), link, user);
        Self { commands, reports, ..self }
    }

    /// The documents that the world knows.
    pub(super) fn documents(&self) -> Vec<(CollectionIndex, DocumentId)> {
        let index = self.app.world().resource::<DocumentIndex>();
        let ids = |of| index.of_collection(of).map(move |slot| (of, index.entry(slot).key.id.clone()));
        let mut all: Vec<_> = [NOTES, SETTINGS].into_iter().flat_map(ids).collect();
        all.sort();
        all
    }

    /// The documents that are shown as refused.
    pub(super) fn refused(&self) -> Vec<(CollectionIndex, DocumentId)> {
        let refused = self.app.world().resource::<RefusedDocuments>();
        refused.iter().map(|(collection, id, _)| (collection, id.clone())).collect()
    }

    /// Offers a refused document again, or discards it.
    pub(super) fn settle_refused(&mut self, collection: CollectionIndex, id: &DocumentId, retries: bool) {
        match retries {
            true => document::retry(self.app.world_mut(), collection, id),
            false => document::discard(self.app.world_mut(), collection, id),
        }
    }

    /// Shows all hidden documents again.
    pub(super) fn show_all(&mut self) {
        document::show_all(self.app.world_mut(), NOTES);
        document::show_all(self.app.world_mut(), SETTINGS);
    }

    /// Whether a version waits to be applied.
    pub(super) fn is_waiting(&self) -> bool {
        let index = self.app.world().resource::<DocumentIndex>();
        [NOTES, SETTINGS]
            .into_iter()
            .flat_map(|of| index.of_collection(of))
            .any(|slot| index.entry(slot).pending.is_some())
    }

    /// The notes in the world.
    pub(super) fn notes(&self) -> BTreeMap<DocumentId, Note> {
        let world = self.app.world();
        shown(world, |entity| match self.fields {
            NoteVersion::Old => world.get::<OldNote>(entity).map(Version::note),
            NoteVersion::New => world.get::<NewNote>(entity).map(Version::note),
        })
    }

    /// The settings in the world.
    pub(super) fn settings(&self) -> Vec<(DocumentId, String, i64)> {
        let world = self.app.world();
        let index = world.resource::<DocumentIndex>();
        let mut all: Vec<_> = index
            .of_collection(SETTINGS)
            .filter_map(|slot| {
                let entry = index.entry(slot);
                let settings = world.get::<Settings>(entry.entity()?)?;
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
            Some((entry.key.id.clone(), note(entry.entity()?)?))
        })
        .collect()
}
