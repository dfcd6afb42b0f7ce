//! A list that outlives the program, and that apps share if there is a deployment.
//!
//! ```text
//! cargo run --example minimal -- "Buy milk"
//! cargo run --example minimal -- "Buy bread"                          # shows both
//! cargo run --bin replicate-backend -- --listen 127.0.0.1:3210 --data target/backend
//! cargo run --example minimal -- "Buy tea" http://127.0.0.1:3210      # sends everything
//! ```
use std::time::Duration;

use bevy::{app::ScheduleRunnerPlugin, prelude::*};
use bevy_convex_replicate::prelude::*;

#[derive(Component, Serialize, Deserialize, Clone)]
struct Task {
    text: String,
}

fn main() -> AppExit {
    let mut replicate = ReplicatePlugin::new("bevy-replicate-minimal");
    if let Some(url) = std::env::args().nth(2) {
        replicate = replicate.deployment(url);
    }
    App::new()
        .add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(Duration::from_millis(10))))
        .add_plugins(replicate)
        .replicate::<Task>("tasks")
        .add_systems(Startup, add)
        .add_systems(Update, (announce, leave).chain())
        .run()
}

fn add(mut tasks: Collection<Task>) {
    if let Some(text) = std::env::args().nth(1) {
        tasks.insert(Task { text });
    }
}

fn announce(
    mut changes: MessageReader<DocumentChanged<Task>>,
    mut failures: MessageReader<SyncFailed>,
    tasks: Collection<Task>,
) {
    for change in changes.read() {
        let text = tasks.get(&change.id).map_or("", |task| &task.text);
        println!("{:?} {:?}: {text}", change.origin, change.kind);
    }
    for failure in failures.read() {
        eprintln!("{failure}");
    }
}

/// Ends when everything is on the disk and, where there is a deployment, there too.
fn leave(status: Res<SyncStatus>, tasks: Collection<Task>, mut exit: MessageWriter<AppExit>) {
    let is_alone = std::env::args().len() < 3;
    if tasks.is_ready() && status.is_saved() && (is_alone || status.is_live() && status.is_sent()) {
        println!("{} tasks. {}", tasks.len(), *status);
        exit.write(AppExit::Success);
    }
}
