//! A complete app for the tests of web apps in `convex/`. The app and a web app must show each other's edits.
//!
//! ```text
//! native http://127.0.0.1:3210 notes STORE_FILE [SECOND_COLLECTION]
//! ```
//!
//! It reads commands as lines of JSON, such as `{"do": "edit", "id": "a", "isCompleted": true}`, and prints the content
//! of its world by document whenever the content changes. It ends when its standard input ends, so that it does not
//! outlive the process that started it.

use std::{collections::BTreeMap, io::BufRead, time::Duration};

use bevy::{app::ScheduleRunnerPlugin, prelude::*};
use bevy_convex_replicate::prelude::*;
use crossbeam_channel::{Receiver, TryRecvError, unbounded};

/// A note as the web apps write it. They also store its name in it, as `id`, which this app ignores.
#[derive(Component, Serialize, Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Note {
    text: String,
    is_completed: bool,
}

/// The component of the second collection.
#[derive(Component, Serialize, Deserialize, Clone)]
struct Label {
    color: String,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Ask {
    Insert { id: String, text: String },
    Edit { id: String, text: Option<String>, is_completed: Option<bool> },
    Delete { id: String },
    Offline,
    Online,
}

#[derive(Resource)]
struct Asked(Receiver<Ask>);

fn main() -> AppExit {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(collection), Some(store)) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("native URL COLLECTION STORE_FILE [SECOND_COLLECTION]");
        return AppExit::error();
    };
    let (ask, asked) = unbounded();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(command) => drop(ask.send(command)),
                Err(error) => eprintln!("{line}: {error}"),
            }
        }
    });
    let mut app = App::new();
    if let Some(second) = arguments.next() {
        app.replicate::<Label>(&second);
    }
    app.add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(Duration::from_millis(2))))
        .add_plugins(ReplicatePlugin::new("native").store(store).deployment(url))
        .replicate::<Note>(&collection)
        .web_compatible(&collection)
        .insert_resource(Asked(asked))
        .add_systems(Update, (obey, complain))
        .add_systems(Last, (show, report))
        .run()
}

/// Changes the world as an editor does, which knows entities and components.
fn obey(
    asked: Res<Asked>,
    mut notes: Query<(Entity, &DocumentId, &mut Note)>,
    mut commands: Commands,
    mut control: SyncControl,
    mut exit: MessageWriter<AppExit>,
) {
    loop {
        match asked.0.try_recv() {
            Ok(Ask::Insert { id, text }) => {
                commands.spawn((DocumentId::new(id), Note { text, is_completed: false }));
            }
            Ok(Ask::Edit { id, text, is_completed }) => {
                let Some((_, _, mut note)) = notes.iter_mut().find(|(_, found, _)| found.as_str() == id) else {
                    eprintln!("there is no note {id}");
                    continue;
                };
                if let Some(text) = text {
                    note.text = text;
                }
                if let Some(is_completed) = is_completed {
                    note.is_completed = is_completed;
                }
            }
            Ok(Ask::Delete { id }) => match notes.iter().find(|(_, found, _)| found.as_str() == id) {
                Some((entity, ..)) => {
                    commands.entity(entity).delete_document();
                }
                None => eprintln!("there is no note {id}"),
            },
            Ok(Ask::Offline) => control.go_offline(),
            Ok(Ask::Online) => control.go_online(),
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                exit.write(AppExit::Success);
                return;
            }
        }
    }
}

fn complain(mut failures: MessageReader<SyncFailed>) {
    for failure in failures.read() {
        eprintln!("{failure}");
    }
}

fn report(status: Res<SyncStatus>) {
    if status.is_changed() {
        eprintln!("{}", *status);
    }
}

fn show(notes: Query<(&DocumentId, &Note)>, mut said: Local<String>) {
    let world: BTreeMap<String, &Note> = notes.iter().map(|(id, note)| (id.to_string(), note)).collect();
    let now = serde_json::to_string(&world).unwrap_or_default();
    if *said != now {
        println!("{now}");
        *said = now;
    }
}
