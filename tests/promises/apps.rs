//! Apps for the tests of the promises, and functions that wait for their state.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    format::{self, Counter, Value},
    prelude::*,
    worker::Failure,
};
use tempfile::TempDir;

use crate::host::{self, Host};

/// Longer than any step takes on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub text: String,
    pub is_completed: bool,
    #[serde(default)]
    pub votes: Counter,
}

pub fn task(text: &str) -> Task {
    Task { text: text.into(), ..Task::default() }
}

pub type Tasks = BTreeMap<DocumentId, Task>;

/// A temporary folder, and a backend whose files are in it.
pub struct Place {
    folder: TempDir,
    backend: Option<Deployment>,
    port: u16,
    /// Whether callers need a [`TOKEN`].
    guarded: bool,
    /// How long the embedded backend keeps deleted documents, from its next start on.
    pub retention: Duration,
}

/// The token that a guarded backend accepts. The embedded backend compares it as a string; `convex/host` reads it as a
/// JSON Web Token of the user `ada`.
pub const TOKEN: &str = "e30.eyJzdWIiOiJhZGEifQ.signature";

enum Deployment {
    Embedded(Backend),
    Convex(Host),
}

impl Place {
    pub fn new() -> Self {
        Self::open(false)
    }

    /// A place whose backend serves only callers with the [`TOKEN`].
    pub fn guarded() -> Self {
        Self::open(true)
    }

    fn open(guarded: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Self { folder, backend: None, port: 0, guarded, retention: Duration::MAX };
        place.start_backend();
        place
    }

    /// A place whose backend can be stopped and started again with its data.
    pub fn durable() -> Self {
        assert!(
            !host::is_wanted(),
            "convex/host keeps nothing when it stops: leave this test out with `--skip durable`"
        );
        Self::new()
    }

    /// A number of documents that the backend serves quickly: fewer for `convex/host`, which reads each row for each
    /// query.
    pub fn many(&self, number: usize) -> usize {
        match self.backend {
            Some(Deployment::Convex(_)) => number / 10,
            _ => number,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn stop_backend(&mut self) {
        self.backend = None;
    }

    /// Starts the backend at its address with its data. `convex/host` starts without data.
    pub fn start_backend(&mut self) {
        self.start_backend_with(|config| config);
    }

    fn start_backend_with(&mut self, configure: impl FnOnce(BackendConfig) -> BackendConfig) {
        let (backend, address) = if host::is_wanted() {
            let host = Host::start(self.port, &["tasks"], if self.guarded { &["--signed-in"] } else { &[] });
            let address = host.address();
            (Deployment::Convex(host), address)
        } else {
            let mut config = BackendConfig::new()
                .listen(format!("127.0.0.1:{}", self.port))
                .retention(self.retention)
                .data(self.folder.path().join("backend"));
            if self.guarded {
                config = config.token(TOKEN);
            }
            let backend = Backend::start(configure(config)).unwrap();
            let address = backend.address();
            (Deployment::Embedded(backend), address)
        };
        self.port = address.port();
        self.backend = Some(backend);
    }

    /// Starts the backend at its address without data.
    pub fn wipe_backend(&mut self) {
        self.stop_backend();
        if !host::is_wanted() {
            std::fs::remove_dir_all(self.folder.path().join("backend")).unwrap();
        }
        self.start_backend();
    }

    /// Copies the data of a [durable](Self::durable) backend.
    pub fn back_up_backend(&mut self) {
        self.stop_backend();
        copy(&self.folder.path().join("backend"), &self.folder.path().join("backup"));
        self.start_backend();
    }

    /// Starts the backend with the copy instead of its data, as another log.
    pub fn put_back_backend(&mut self) {
        self.stop_backend();
        let data = self.folder.path().join("backend");
        std::fs::remove_dir_all(&data).unwrap();
        copy(&self.folder.path().join("backup"), &data);
        self.start_backend_with(BackendConfig::new_epoch);
    }

    /// A connected device.
    pub fn device(&self, name: &str) -> Device {
        Device::open(self.store(name), Some(&self.url()))
    }

    pub fn store(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.sqlite"))
    }

    /// Calls a mutation as another client.
    pub fn call<const N: usize>(&self, function: &str, arguments: [(&str, convex::Value); N]) {
        self.ask(function, arguments, true);
    }

    /// Calls a query as another client.
    pub fn query<const N: usize>(&self, function: &str, arguments: [(&str, convex::Value); N]) -> convex::Value {
        self.ask(function, arguments, false)
    }

    fn ask<const N: usize>(&self, name: &str, arguments: [(&str, convex::Value); N], changes: bool) -> convex::Value {
        let arguments = arguments.map(|(name, value)| (name.to_owned(), value)).into();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let result = runtime.block_on(async {
            let mut client = convex::ConvexClient::new(&self.url()).await.unwrap();
            match changes {
                true => client.mutation(name, arguments).await.unwrap(),
                false => client.query(name, arguments).await.unwrap(),
            }
        });
        match result {
            convex::FunctionResult::Value(value) => value,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// The rows of the backend's table.
    pub fn rows(&self) -> Vec<(DocumentId, BTreeMap<String, convex::Value>)> {
        let row = |row: convex::Value| match row {
            convex::Value::Object(row) => row,
            other => panic!("a row is an object: {other:?}"),
        };
        match self.backend.as_ref().unwrap() {
            Deployment::Embedded(backend) => {
                backend.rows("tasks").into_iter().map(|(id, fields)| (id, row(fields))).collect()
            }
            Deployment::Convex(host) => {
                let rows = host.rows("tasks").into_iter().map(|json| row(convex::Value::try_from(json).unwrap()));
                let named = |mut row: BTreeMap<String, convex::Value>| {
                    row.retain(|name, _| !name.starts_with('_'));
                    let Some(convex::Value::String(id)) = row.get("id") else { panic!("a row has an id: {row:?}") };
                    (DocumentId::new(id.as_str()), row)
                };
                rows.map(named).collect()
            }
        }
    }

    /// The number of changes in the backend's log.
    pub fn changes(&self) -> usize {
        let version = |row: &BTreeMap<String, convex::Value>| match row["version"] {
            convex::Value::Float64(version) => version as usize,
            ref other => panic!("a version is a number: {other:?}"),
        };
        self.rows().iter().map(|(_, row)| version(row)).sum()
    }

    /// The rows of the backend's table, without deleted documents.
    pub fn table(&self) -> Tasks {
        let mut tasks = Tasks::new();
        for (id, row) in self.rows() {
            let json = serde_json::Value::from(convex::Value::Object(row));
            let value = Value::from_json_text(&json.to_string()).unwrap();
            if !value.is_deleted() {
                tasks.insert(id, format::from_value(&value).unwrap());
            }
        }
        tasks
    }
}

/// An app with tasks.
pub struct Device {
    pub app: App,
    store: PathBuf,
    deployment: Option<String>,
}

#[derive(Resource, Default)]
pub struct Seen {
    pub changes: Vec<(DocumentId, ChangeKind, Origin)>,
    pub failures: Vec<Failure>,
    pub ready: bool,
}

impl Device {
    pub fn open(store: PathBuf, deployment: Option<&str>) -> Self {
        Self::with(store, deployment, |plugin| plugin)
    }

    pub fn with(
        store: PathBuf,
        deployment: Option<&str>,
        configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin,
    ) -> Self {
        let mut plugin = ReplicatePlugin::new("promises").store(&store);
        if let Some(url) = deployment {
            plugin = plugin.deployment(url);
        }
        let mut app = App::new();
        app.add_plugins(MinimalPlugins)
            .add_plugins(configure(plugin))
            .replicate::<Task>("tasks")
            .init_resource::<Seen>()
            .add_systems(Update, see);
        app.finish();
        app.cleanup();
        Self { app, store, deployment: deployment.map(str::to_owned) }
    }

    /// Ends the app. Its store can be opened again.
    pub fn into_store(self) -> PathBuf {
        self.store
    }

    /// Ends the app and starts it again with the same store.
    pub fn restart(self) -> Self {
        let Self { app, store, deployment } = self;
        drop(app);
        Self::open(store, deployment.as_deref())
    }

    pub fn update(&mut self) {
        self.app.update();
    }

    pub fn status(&self) -> &SyncStatus {
        self.app.world().resource::<SyncStatus>()
    }

    pub fn seen(&self) -> &Seen {
        self.app.world().resource::<Seen>()
    }

    pub fn tasks(&mut self) -> Tasks {
        let world = self.app.world_mut();
        let mut tasks = world.query::<(&DocumentId, &Task)>();
        tasks.iter(world).map(|(id, task)| (id.clone(), task.clone())).collect()
    }

    pub fn count(&mut self) -> usize {
        let world = self.app.world_mut();
        world.query::<&Task>().iter(world).count()
    }

    pub fn insert(&mut self, task: Task) -> DocumentId {
        let id = DocumentId::random();
        self.app.world_mut().spawn((task, id.clone()));
        id
    }

    fn entity(&mut self, id: &DocumentId) -> Entity {
        let world = self.app.world_mut();
        let mut ids = world.query::<(Entity, &DocumentId)>();
        ids.iter(world).find(|(_, found)| *found == id).map(|(entity, _)| entity).expect("no such document")
    }

    /// Edits the component as a system does.
    pub fn edit(&mut self, id: &DocumentId, edit: impl FnOnce(&mut Task)) {
        let entity = self.entity(id);
        edit(&mut self.app.world_mut().get_mut::<Task>(entity).unwrap());
    }

    pub fn delete(&mut self, id: &DocumentId) {
        let entity = self.entity(id);
        self.app.world_mut().commands().entity(entity).delete_document();
        self.app.world_mut().flush();
    }

    pub fn restore(&mut self, id: &DocumentId) {
        let id = id.clone();
        self.app.world_mut().run_system_cached_with(restore, id).unwrap();
    }

    pub fn go_offline(&mut self) {
        self.app.world_mut().run_system_cached(|mut sync: SyncControl| sync.go_offline()).unwrap();
    }

    pub fn go_online(&mut self) {
        self.app.world_mut().run_system_cached(|mut sync: SyncControl| sync.go_online()).unwrap();
    }

    /// Whether everything that the app made is stored and sent, and everything in the log has arrived.
    pub fn is_quiet(&self) -> bool {
        let status = self.status();
        status.is_live() && status.is_saved() && status.is_sent()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn restore(In(id): In<DocumentId>, mut tasks: Collection<Task>) {
    tasks.restore(&id);
}

fn see(
    mut seen: ResMut<Seen>,
    mut changes: MessageReader<DocumentChanged<Task>>,
    mut failures: MessageReader<SyncFailed>,
    mut ready: MessageReader<CollectionReady<Task>>,
) {
    for change in changes.read() {
        seen.changes.push((change.id.clone(), change.kind, change.origin));
    }
    seen.failures.extend(failures.read().map(|SyncFailed(failure)| failure.clone()));
    seen.ready |= ready.read().count() > 0;
}

/// Runs the apps frame by frame until `condition` is true.
#[track_caller]
pub fn until<const N: usize>(
    what: &str,
    mut devices: [&mut Device; N],
    mut condition: impl FnMut(&mut [&mut Device; N]) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        for device in &mut devices {
            device.update();
        }
        if condition(&mut devices) {
            return;
        }
        if Instant::now() > deadline {
            let states: Vec<_> = devices
                .iter_mut()
                .map(|d| (d.count(), format!("{:?}\n{:?}", d.status(), d.seen().failures)))
                .map(|(count, state)| format!("{count} tasks\n{state}"))
                .collect();
            panic!("timed out waiting until {what}\n{}", states.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs the apps until all are quiet and show the same as the table, and returns the rows.
#[track_caller]
pub fn settle<const N: usize>(place: &Place, devices: [&mut Device; N]) -> Tasks {
    until("all show the same", devices, |devices| {
        devices.iter().all(|device| device.is_quiet()) && {
            let table = place.table();
            devices.iter_mut().all(|device| device.tasks() == table)
        }
    });
    place.table()
}
