//! Many apps without a window, editing the same documents.
//!
//! ```sh
//! cargo run --release --example headless -- --clients 4 --seconds 5
//! ```
//!
//! This starts the embedded backend and a number of Bevy apps, each with a store of its own. The apps insert, edit and
//! delete tasks, lose their connection and are started anew. Then all of them stop editing, and the worlds, the stores
//! and the backend's table are compared. The last line is the result. If it is not `converged=true lost=0 echoed=0`,
//! the program prints the differences and exits with 1.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    Value,
    backend::{Backend, BackendConfig},
    client::from_value,
    prelude::*,
    store::Store,
};
use clap::Parser;
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// Tasks that all apps together aim at: enough to edit different ones, few enough to meet on the same.
const TASKS: usize = 60;
/// The time that the apps get to agree after the last edit. They need a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Args {
    /// The number of apps.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// The time for which they edit.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Task {
    text: String,
    is_completed: bool,
    votes: Counter,
}

/// The documents that a world shows.
type Tasks = BTreeMap<DocumentId, Task>;

/// The actions of one app, over all its starts.
#[derive(Default)]
struct Diary {
    /// Components edited, documents inserted and deleted.
    edits: u64,
    /// Local changes that the library reported.
    captured: u64,
    votes: HashMap<DocumentId, i64>,
    inserted: Vec<DocumentId>,
    deleted: Vec<DocumentId>,
}

/// Held by the app while it runs.
#[derive(Resource)]
struct Editor {
    random: SmallRng,
    editing: bool,
    /// The store has reported everything that it has.
    ready: bool,
    diary: Diary,
}

/// The state that the threads share.
struct Stage {
    url: String,
    folder: PathBuf,
    stop: AtomicBool,
    /// For each client, the tasks in its world, once all its edits are stored and sent.
    shown: Vec<Mutex<Option<Tasks>>>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(outcome) => {
            outcome.differences.iter().chain(&outcome.lost).take(20).for_each(|difference| println!("{difference}"));
            println!("headless: {outcome}");
            if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("headless: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The result of a run.
#[derive(Default)]
struct Outcome {
    clients: usize,
    edits: u64,
    /// Differences between the worlds, the stores and the table.
    differences: Vec<String>,
    /// Edits that are not in the end state.
    lost: Vec<String>,
    /// Changes that no client made.
    echoed: u64,
}

impl Outcome {
    /// `table` is the content of the backend's table at the end, and `changes` the number of changes in its log.
    fn of(diaries: &[Diary], differences: Vec<String>, table: &Tasks, changes: u64) -> Self {
        let edits: u64 = diaries.iter().map(|diary| diary.edits).sum();
        let captured: u64 = diaries.iter().map(|diary| diary.captured).sum();
        // If a remote change is taken for an edit, there are more captures than edits, or there is one more change in
        // the log.
        let echoed = captured.saturating_sub(edits) + changes.saturating_sub(edits);
        Self { clients: diaries.len(), edits, differences, lost: lost(diaries, table), echoed }
    }

    fn is_good(&self) -> bool {
        self.differences.is_empty() && self.lost.is_empty() && self.echoed == 0 && self.edits > 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, edits, differences, lost, echoed } = self;
        let (converged, lost) = (differences.is_empty(), lost.len());
        write!(f, "clients={clients} edits={edits} converged={converged} lost={lost} echoed={echoed}")
    }
}

fn run(args: &Args) -> Result<Outcome, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let backend = Backend::start(BackendConfig::new().listen("127.0.0.1:0").data(folder.path().join("backend")))?;
    let stage = Stage {
        url: backend.url().to_owned(),
        folder: folder.path().to_owned(),
        stop: AtomicBool::new(false),
        shown: (0..args.clients).map(|_| Mutex::new(None)).collect(),
    };
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let (diaries, mut differences) = std::thread::scope(|scope| {
        let stage = &stage;
        let clients: Vec<_> =
            (0..args.clients).map(|number| scope.spawn(move || client(stage, number, args.seed, until))).collect();
        let differences = agree(stage, &backend, until);
        stage.stop.store(true, Ordering::Release);
        let diaries: Vec<Diary> = clients.into_iter().filter_map(|client| client.join().ok()).collect();
        (diaries, differences)
    });
    if diaries.len() < args.clients {
        return Err("an app panicked".into());
    }
    let table = table(&backend)?;
    for number in 0..args.clients {
        let stored = stored(&store_path(&stage.folder, number))?;
        difference(&format!("store {number}"), &stored, "table", &table, &mut differences);
    }
    Ok(Outcome::of(&diaries, differences, &table, backend.stats().changes as u64))
}

/// Runs one app after the other on one store, until told to stop.
fn client(stage: &Stage, number: usize, seed: u64, until: Instant) -> Diary {
    let mut random = SmallRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number as u64));
    let mut diary = Diary::default();
    while Instant::now() < until {
        let mut app = app(stage, number, &mut random, std::mem::take(&mut diary));
        let frames = random.random_range(500..3_000);
        let offline = random.random_range(0..frames);
        let online = random.random_range(offline..frames);
        for frame in 0..frames {
            if frame == offline {
                app.world_mut().commands().queue(|world: &mut World| go_offline(world));
            }
            if frame == online {
                app.world_mut().commands().queue(|world: &mut World| go_online(world));
            }
            app.update();
            if Instant::now() >= until {
                break;
            }
        }
        diary = close(app);
    }
    // The last one only listens.
    let mut app = app(stage, number, &mut random, diary);
    app.world_mut().resource_mut::<Editor>().editing = false;
    while !stage.stop.load(Ordering::Acquire) {
        app.update();
        let status = app.world().resource::<SyncStatus>();
        let quiet = status.is_live() && status.is_saved() && status.is_sent();
        let shown = quiet.then(|| shown(app.world_mut()));
        if let Ok(mut slot) = stage.shown[number].lock() {
            *slot = shown;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    close(app)
}

fn app(stage: &Stage, number: usize, random: &mut SmallRng, diary: Diary) -> App {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .add_plugins(ReplicatePlugin::new("headless").store(store_path(&stage.folder, number)).deployment(&stage.url))
        .replicate::<Task>("tasks")
        .insert_resource(Editor {
            random: SmallRng::seed_from_u64(random.random()),
            editing: true,
            ready: false,
            diary,
        })
        .add_systems(Update, (edit, note, complain));
    app.finish();
    app.cleanup();
    app
}

/// Ends an app, which first writes the rest of its edits.
fn close(mut app: App) -> Diary {
    // The messages about the last frame's captures come in the next frame.
    app.world_mut().resource_mut::<Editor>().editing = false;
    app.update();
    app.update();
    app.world_mut().remove_resource::<Editor>().map(|editor| editor.diary).unwrap_or_default()
}

fn go_offline(world: &mut World) {
    let _ = world.run_system_cached(|mut sync: SyncControl| sync.go_offline());
}

fn go_online(world: &mut World) {
    let _ = world.run_system_cached(|mut sync: SyncControl| sync.go_online());
}

/// Does one thing in every second frame or so.
fn edit(mut commands: Commands, mut editor: ResMut<Editor>, mut tasks: Query<(Entity, &DocumentId, &mut Task)>) {
    let Editor { random, editing, ready, diary } = &mut *editor;
    if !*editing || !*ready || random.random_bool(0.5) {
        return;
    }
    let count = tasks.iter().len();
    let action = random.random_range(0..100);
    if count < TASKS / 4 || (count < TASKS && action < 10) {
        let id = DocumentId::random();
        diary.inserted.push(id.clone());
        diary.edits += 1;
        commands.spawn((Task { text: "new".into(), ..Task::default() }, id));
        return;
    }
    let Some((entity, id, mut task)) = tasks.iter_mut().nth(random.random_range(0..count)) else { return };
    diary.edits += 1;
    match action {
        0..14 => {
            diary.deleted.push(id.clone());
            commands.entity(entity).delete_document();
        }
        14..45 => {
            let votes = random.random_range(1..4);
            *diary.votes.entry(id.clone()).or_default() += votes;
            task.votes += votes;
        }
        45..70 => task.is_completed = !task.is_completed,
        _ => {
            let letter = char::from(random.random_range(b'a'..=b'z'));
            if task.text.len() > 40 {
                task.text.clear();
            }
            task.text.push(letter);
        }
    }
}

fn note(
    mut editor: ResMut<Editor>,
    mut changes: MessageReader<DocumentChanged<Task>>,
    mut ready: MessageReader<CollectionReady<Task>>,
) {
    editor.ready |= ready.read().count() > 0;
    let local = changes.read().filter(|change| change.origin == Origin::Local).count();
    editor.diary.captured += local as u64;
}

fn complain(mut failures: MessageReader<SyncFailed>) {
    for SyncFailed(failure) in failures.read() {
        println!("{failure}");
    }
}

fn shown(world: &mut World) -> Tasks {
    let mut tasks = world.query::<(&DocumentId, &Task)>();
    tasks.iter(world).map(|(id, task)| (id.clone(), task.clone())).collect()
}

/// Waits until all worlds show the content of the table. Otherwise returns the differences.
fn agree(stage: &Stage, backend: &Backend, until: Instant) -> Vec<String> {
    let patience = until + PATIENCE;
    loop {
        std::thread::sleep(Duration::from_millis(20));
        if Instant::now() < until {
            continue;
        }
        let mut differences = Vec::new();
        match table(backend) {
            Ok(table) => {
                for (number, slot) in stage.shown.iter().enumerate() {
                    match slot.lock().ok().and_then(|slot| slot.clone()) {
                        Some(shown) => {
                            difference(&format!("world {number}"), &shown, "table", &table, &mut differences)
                        }
                        None => differences.push(format!("world {number} is not quiet")),
                    }
                }
            }
            Err(error) => differences.push(error.to_string()),
        }
        if differences.is_empty() || Instant::now() > patience {
            return differences;
        }
    }
}

fn difference(left_name: &str, left: &Tasks, right_name: &str, right: &Tasks, differences: &mut Vec<String>) {
    for (id, task) in left {
        if right.get(id) != Some(task) {
            differences.push(format!("{id}: {left_name} has {task:?}, {right_name} {:?}", right.get(id)));
        }
    }
    for (id, task) in right.iter().filter(|(id, _)| !left.contains_key(*id)) {
        differences.push(format!("{id}: {left_name} has nothing, {right_name} {task:?}"));
    }
}

/// Edits that are not in the end state: tasks that a client inserted and no client deleted but that are gone, and votes
/// that do not add up.
fn lost(diaries: &[Diary], table: &Tasks) -> Vec<String> {
    let mut lost = Vec::new();
    let deleted = |id: &DocumentId| diaries.iter().any(|diary| diary.deleted.contains(id));
    for id in diaries.iter().flat_map(|diary| &diary.inserted) {
        let votes: i64 = diaries.iter().filter_map(|diary| diary.votes.get(id)).sum();
        match table.get(id) {
            Some(task) if task.votes.0 != votes => {
                lost.push(format!("{id}: {votes} votes were cast, {} are counted", task.votes.0));
            }
            None if !deleted(id) => lost.push(format!("{id} was inserted, deleted by nobody, and is gone")),
            _ => {}
        }
    }
    lost
}

/// The backend's table, without deleted tasks.
fn table(backend: &Backend) -> Result<Tasks, Box<dyn Error>> {
    let mut tasks = Tasks::new();
    for (id, row) in backend.rows("tasks") {
        let value = plain(row)?;
        if !value.is_deleted() {
            tasks.insert(id, from_value(&value)?);
        }
    }
    Ok(tasks)
}

/// A row as a document's value.
fn plain(row: convex::Value) -> Result<Value, Box<dyn Error>> {
    Ok(Value::from_json_text(&serde_json::Value::from(row).to_string())?)
}

/// The documents of a store, without deleted ones.
fn stored(path: &Path) -> Result<Tasks, Box<dyn Error>> {
    let store = Store::open(path)?;
    let mut tasks = Tasks::new();
    for document in store.documents("tasks", None, usize::MAX)? {
        if !document.value.is_deleted() {
            tasks.insert(document.id, from_value(&document.value)?);
        }
    }
    Ok(tasks)
}

fn store_path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("client-{number}.sqlite"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(tasks: &[(&str, &str, i64)]) -> Tasks {
        let task = |(id, text, votes): &(&str, &str, i64)| {
            let task = Task { text: (*text).into(), votes: Counter(*votes), ..Task::default() };
            (DocumentId::new(*id), task)
        };
        tasks.iter().map(task).collect()
    }

    /// An app that made two tasks, voted for the first, and edited twice more.
    fn diary() -> Diary {
        let (a, b) = (DocumentId::new("a"), DocumentId::new("b"));
        Diary { edits: 5, captured: 5, votes: [(a.clone(), 3)].into(), inserted: vec![a, b], deleted: Vec::new() }
    }

    fn outcome(diary: Diary, table: &Tasks, changes: u64) -> Outcome {
        Outcome::of(&[diary], Vec::new(), table, changes)
    }

    #[test]
    fn what_came_together_is_good() {
        let outcome = outcome(diary(), &tasks(&[("a", "one", 3), ("b", "two", 0)]), 5);
        assert!(outcome.is_good());
        assert_eq!(outcome.to_string(), "clients=1 edits=5 converged=true lost=0 echoed=0");
    }

    #[test]
    fn whatever_differs_is_told_and_is_not_good() {
        let table = tasks(&[("a", "one", 3), ("b", "two", 0)]);
        for (world, told) in [
            (tasks(&[("a", "one", 3)]), "b: world 0 has nothing, table"),
            (tasks(&[("a", "one", 3), ("b", "other", 0)]), "b: world 0 has Task { text: \"other\""),
            (tasks(&[("a", "one", 3), ("b", "two", 0), ("c", "", 0)]), "c: world 0 has Task"),
        ] {
            let mut differences = Vec::new();
            difference("world 0", &world, "table", &table, &mut differences);
            assert!(differences.len() == 1 && differences[0].starts_with(told), "{differences:?}");
            let outcome = Outcome { differences, ..outcome(diary(), &table, 5) };
            assert!(!outcome.is_good() && outcome.to_string().contains("converged=false"), "{outcome}");
        }
    }

    #[test]
    fn a_lost_edit_is_told_and_is_not_good() {
        for (table, told) in [
            (tasks(&[("a", "one", 2), ("b", "two", 0)]), "a: 3 votes were cast, 2 are counted"),
            (tasks(&[("a", "one", 3)]), "b was inserted, deleted by nobody, and is gone"),
        ] {
            let outcome = outcome(diary(), &table, 5);
            assert_eq!(outcome.lost, [told]);
            assert!(!outcome.is_good() && outcome.to_string().contains("lost=1"), "{outcome}");
        }
        let deleted = Diary { deleted: vec![DocumentId::new("b")], ..diary() };
        assert!(outcome(deleted, &tasks(&[("a", "one", 3)]), 5).is_good());
    }

    #[test]
    fn an_echo_and_a_run_without_edits_are_not_good() {
        let table = tasks(&[("a", "one", 3), ("b", "two", 0)]);
        let echo = outcome(diary(), &table, 6);
        assert!(!echo.is_good() && echo.to_string().ends_with("echoed=1"), "{echo}");
        let captured = outcome(Diary { captured: 7, ..diary() }, &table, 5);
        assert!(!captured.is_good() && captured.to_string().ends_with("echoed=2"), "{captured}");
        assert!(!outcome(Diary::default(), &Tasks::new(), 0).is_good());
    }
}
