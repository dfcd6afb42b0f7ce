//! The task board without its window, for the test of `examples/web` in `convex/`: the same components in the same
//! collections.
//!
//! ```text
//! board http://127.0.0.1:3210 STORE_FILE
//! ```
//!
//! It reads commands as lines of JSON, such as `{"do": "rename", "id": "a", "title": "Milk"}`, and prints the cards of
//! its world by document whenever they change. It ends when its standard input ends, so that it does not outlive the
//! process that started it.

use std::{collections::BTreeMap, io::BufRead, time::Duration};

use bevy::{app::ScheduleRunnerPlugin, prelude::*};
use bevy_convex_replicate::prelude::*;
use crossbeam_channel::{Receiver, TryRecvError, unbounded};

#[path = "../../examples/task_board/model.rs"]
#[allow(dead_code, reason = "the window uses the rest")]
mod model;

use model::{Card, Column, Tint};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Ask {
    AddColumn { id: String, title: String, order: String },
    AddCard { id: String, title: String, column: String, order: String },
    Rename { id: String, title: String },
    Tick { id: String, is_done: bool },
    Delete { id: String },
}

#[derive(Resource)]
struct Asked(Receiver<Ask>);

fn main() -> AppExit {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(store)) = (arguments.next(), arguments.next()) else {
        eprintln!("board URL STORE_FILE");
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
    App::new()
        .add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(Duration::from_millis(2))))
        .add_plugins(ReplicatePlugin::new("board").store(store).deployment(url))
        .replicate::<Column>("columns")
        .replicate::<Card>("cards")
        .insert_resource(Asked(asked))
        .add_systems(Update, (obey, complain))
        .add_systems(Last, show)
        .run()
}

fn obey(
    asked: Res<Asked>,
    mut cards: Query<(Entity, &DocumentId, &mut Card)>,
    mut commands: Commands,
    mut exit: MessageWriter<AppExit>,
) {
    loop {
        let asked = match asked.0.try_recv() {
            Ok(asked) => asked,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                exit.write(AppExit::Success);
                return;
            }
        };
        match asked {
            Ask::AddColumn { id, title, order } => {
                commands.spawn((DocumentId::new(id), Column { title, order: order.into(), tint: Tint::Teal }));
            }
            Ask::AddCard { id, title, column, order } => {
                let (column, order, label) = (column.into(), order.into(), Some(Tint::Amber));
                let card = Card { title, notes: String::new(), column, order, is_done: false, label };
                commands.spawn((DocumentId::new(id), card));
            }
            Ask::Rename { id, title } => {
                if let Some((.., mut card)) = cards.iter_mut().find(|(_, found, _)| found.as_str() == id) {
                    card.title = title;
                }
            }
            Ask::Tick { id, is_done } => {
                if let Some((.., mut card)) = cards.iter_mut().find(|(_, found, _)| found.as_str() == id) {
                    card.is_done = is_done;
                }
            }
            Ask::Delete { id } => {
                if let Some((entity, ..)) = cards.iter().find(|(_, found, _)| found.as_str() == id) {
                    commands.entity(entity).delete_document();
                }
            }
        }
    }
}

fn complain(mut failures: MessageReader<SyncFailed>) {
    for failure in failures.read() {
        eprintln!("{failure}");
    }
}

fn show(cards: Query<(&DocumentId, &Card)>, mut said: Local<String>) {
    let world: BTreeMap<String, &Card> = cards.iter().map(|(id, card)| (id.to_string(), card)).collect();
    let now = serde_json::to_string(&world).unwrap_or_default();
    if *said != now {
        println!("{now}");
        *said = now;
    }
}
