//! Connected apps, for an app's own tests.
//!
//! ```
//! use bevy::prelude::*;
//! use bevy_convex_replicate::{prelude::*, testing};
//!
//! #[derive(Component, Serialize, Deserialize, Clone)]
//! struct Task {
//!     text: String,
//! }
//!
//! let mut apps = testing::pair(|app| { app.replicate::<Task>("tasks"); });
//! apps.one.world_mut().spawn((Task { text: "Buy milk".into() }, DocumentId::new("milk")));
//! apps.until("the other app shows the task", |_, two| two.world_mut().query::<&Task>().iter(two.world()).len() == 1);
//! ```

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bevy::prelude::*;

use crate::{
    backend::{Backend, BackendConfig},
    message::SyncStatus,
    plugin::ReplicatePlugin,
};

/// Longer than a condition takes to become true on a slow machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Two apps that synchronise through an embedded backend.
///
/// Their stores are in a temporary folder, and the backend listens at a free port of this machine's loopback address.
/// Dropping the pair ends all of them and removes the folder.
pub struct Pair {
    /// One app.
    pub one: App,
    /// The other app.
    pub two: App,
    // Fields are dropped in this order, so the files are removed after everything that uses them.
    backend: Backend,
    _folder: Folder,
}

/// Starts two connected apps with [`MinimalPlugins`] and a [`ReplicatePlugin`] each. `build` registers the collections
/// and adds the systems of each app.
///
/// # Panics
///
/// When the folder or the backend cannot be made, with the reason.
pub fn pair(build: impl Fn(&mut App)) -> Pair {
    let folder = Folder::new();
    let backend = match Backend::start(BackendConfig::new().data(folder.0.join("backend"))) {
        Ok(backend) => backend,
        Err(error) => panic!("the backend of the test cannot be started: {error}"),
    };
    let app = |name: &str| {
        let plugin = ReplicatePlugin::new("testing").store(folder.0.join(name)).deployment(backend.url());
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, plugin));
        build(&mut app);
        app.finish();
        app.cleanup();
        app
    };
    Pair { one: app("one.sqlite3"), two: app("two.sqlite3"), backend, _folder: folder }
}

impl Pair {
    /// Runs a frame of each app.
    pub fn update(&mut self) {
        self.one.update();
        self.two.update();
    }

    /// Runs frames of both apps until `condition` is true of them.
    ///
    /// # Panics
    ///
    /// After a minute, with `what` and the [`SyncStatus`] of both apps.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&mut App, &mut App) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.update();
            if condition(&mut self.one, &mut self.two) {
                return;
            }
            if Instant::now() > deadline {
                let status = |app: &App| app.world().resource::<SyncStatus>().clone();
                panic!("waited in vain until {what}; one: {:#?}, two: {:#?}", status(&self.one), status(&self.two));
            }
            std::thread::yield_now();
        }
    }

    /// The URL of the backend, for more apps.
    pub fn deployment(&self) -> &str {
        self.backend.url()
    }
}

/// A temporary folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bevy_convex_replicate-{}", uuid::Uuid::now_v7()));
        if let Err(error) = std::fs::create_dir_all(&path) {
            panic!("the folder {} of the test cannot be made: {error}", path.display());
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system clears its temporary folder in time, so a file that cannot be removed does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
