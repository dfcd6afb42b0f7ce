//! The app that is killed. It edits as fast as it can, and reports each edit before it makes the edit and when the edit
//! is saved.

use std::{
    env,
    io::{Read, Write},
    path::Path,
};

use bevy::prelude::*;
use bevy_convex_replicate::prelude::*;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use crate::{Note, app, notes};

pub const STORE: &str = "REPLICATE_CRASH_STORE";
pub const URL: &str = "REPLICATE_CRASH_URL";
pub const NAME: &str = "REPLICATE_CRASH_NAME";
pub const SEED: &str = "REPLICATE_CRASH_SEED";

/// The number of documents that one run makes. It is small, so that a hundred runs do not make too many documents to
/// read at each start.
const DOCUMENTS: u32 = 8;
/// A longer text is not edited further: this test is about saving, not about long texts.
const LONGEST_TEXT: usize = 400;
/// Documents with this name prefix are deleted again, and are not edited.
const DOOMED: &str = "doomed";

/// Not a test itself: the process that is killed.
#[test]
fn is_a_process() {
    let Some(store) = env::var_os(STORE) else { return };
    // It ends at the latest when the process that started it ends.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let (url, name) = (env::var(URL).unwrap(), env::var(NAME).unwrap());
    let seed = env::var(SEED).unwrap().parse().unwrap();
    Writer { app: app(Path::new(&store), &url), random: SmallRng::seed_from_u64(seed), name, count: 0, made: 0 }.run()
}

struct Writer {
    app: App,
    random: SmallRng,
    name: String,
    count: u32,
    made: u32,
}

impl Writer {
    fn run(mut self) -> ! {
        println!();
        loop {
            let edits: Vec<String> = (0..self.random.random_range(1..=4)).filter_map(|_| self.edit()).collect();
            self.app.update();
            while !self.app.world().resource::<SyncStatus>().is_saved() {
                self.app.update();
                std::thread::yield_now();
            }
            for edit in edits {
                say("saved", &edit);
            }
        }
    }

    /// Makes one edit, reports it before, and returns its name.
    fn edit(&mut self) -> Option<String> {
        self.count += 1;
        let word = format!("{}-{}", self.name, self.count);
        let notes = notes(&mut self.app);
        let mine = notes.keys().find(|id| id.as_str().starts_with(&format!("{DOOMED}-{}-", self.name)));
        let shared: Vec<&DocumentId> = notes
            .iter()
            .filter(|(id, note)| !id.as_str().starts_with(DOOMED) && note.text.len() < LONGEST_TEXT)
            .map(|(id, _)| id)
            .collect();
        let some = shared.choose(&mut self.random).copied().cloned();
        match (self.random.random_range(0..10), some) {
            (0, _) if self.made < DOCUMENTS => Some(self.insert(DocumentId::new(word))),
            (1, _) if mine.is_some() => mine.cloned().map(|id| self.delete(&id)),
            (1, _) if self.made < DOCUMENTS => Some(self.insert(DocumentId::new(format!("{DOOMED}-{word}")))),
            (2..6, Some(id)) => {
                let edit = tried(format!("write {word}"));
                self.note(&id).text.push_str(&format!(" {word}"));
                Some(edit)
            }
            (_, Some(id)) => {
                let edit = tried(format!("vote {word}"));
                self.note(&id).votes += 1;
                Some(edit)
            }
            (_, None) if self.made < DOCUMENTS => Some(self.insert(DocumentId::new(word))),
            (_, None) => None,
        }
    }

    fn insert(&mut self, id: DocumentId) -> String {
        self.made += 1;
        // A deletion is reported after it has happened.
        let kind = if id.as_str().starts_with(DOOMED) { "draft" } else { "insert" };
        let edit = tried(format!("{kind} {id}"));
        self.app.world_mut().spawn((Note::default(), id));
        edit
    }

    fn delete(&mut self, id: &DocumentId) -> String {
        let edit = tried(format!("delete {id}"));
        let entity = self.entity(id);
        self.app.world_mut().commands().entity(entity).delete_document();
        self.app.world_mut().flush();
        edit
    }

    fn note(&mut self, id: &DocumentId) -> Mut<'_, Note> {
        let entity = self.entity(id);
        self.app.world_mut().get_mut::<Note>(entity).unwrap()
    }

    fn entity(&mut self, id: &DocumentId) -> Entity {
        let world = self.app.world_mut();
        let mut ids = world.query::<(Entity, &DocumentId)>();
        ids.iter(world).find(|(_, found)| *found == id).map(|(entity, _)| entity).unwrap()
    }
}

fn tried(edit: String) -> String {
    say("try", &edit);
    edit
}

fn say(what: &str, edit: &str) {
    let mut out = std::io::stdout();
    // A pipe takes a line at once, and no process reads the pipe of a process that is being killed.
    let _ = out.write_all(format!("{what} {edit}\n").as_bytes());
    let _ = out.flush();
}
