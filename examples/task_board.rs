//! A Kanban board on which several people work at once, online or not.
//!
//! ```text
//! cargo run -p windowed-examples --example task_board   # the first window hosts the board on this machine
//! cargo run -p windowed-examples --example task_board   # the next ones join it, each as a device of its own
//! cargo run -p windowed-examples --example task_board -- --deployment https://happy-otter-123.convex.cloud
//! ```
//!
//! The code that uses the library is in `model.rs` (the components), `apply.rs` (reading and changing them) and here.
//! The rest is a user interface. `view.rs` is a snapshot of the board. `board.rs` and the files it uses draw it and
//! return the user's actions, which `action.rs` turns into edits of documents. `format::position` gives the place of a
//! card.

use std::{path::PathBuf, time::Duration};

use bevy::{
    log::LogPlugin,
    prelude::*,
    window::{PresentMode, WindowResolution},
    winit::{UpdateMode, WinitSettings},
};
use bevy_convex_replicate::{LOG_FILTER, prelude::*};
use bevy_egui::{EguiContexts, EguiGlobalSettings, EguiPlugin, EguiPrimaryContextPass, PrimaryEguiContext};
use clap::Parser;

#[path = "task_board/action.rs"]
mod action;
#[path = "task_board/apply.rs"]
mod apply;
#[cfg(test)]
#[path = "task_board/bench.rs"]
mod bench;
#[path = "task_board/board.rs"]
mod board;
#[path = "task_board/card.rs"]
mod card;
#[path = "task_board/column/mod.rs"]
mod column;
#[path = "task_board/desk.rs"]
mod desk;
#[path = "task_board/editor.rs"]
mod editor;
#[path = "task_board/header.rs"]
mod header;
#[path = "task_board/host.rs"]
mod host;
#[path = "task_board/icons.rs"]
mod icons;
#[path = "task_board/model.rs"]
mod model;
#[path = "task_board/notice.rs"]
mod notice;
#[path = "task_board/people.rs"]
mod people;
#[path = "task_board/profile.rs"]
mod profile;
#[path = "task_board/sample.rs"]
mod sample;
#[path = "task_board/shot.rs"]
mod shot;
#[cfg(test)]
#[path = "task_board/tests.rs"]
mod tests;
#[path = "task_board/theme.rs"]
mod theme;
#[path = "task_board/view.rs"]
mod view;
#[path = "task_board/widgets.rs"]
mod widgets;

use host::Host;
use model::{Card, Column, Person};
use people::Presence;
use profile::Profile;
use shot::Shot;

/// A Kanban board on which several people work at once, online or not.
#[derive(Parser)]
struct Arguments {
    /// Work at the board of this Convex deployment or replicate-backend instead of one hosted on this machine.
    #[arg(long, value_name = "URL")]
    deployment: Option<String>,
    /// The device to be: each profile keeps the board in a store of its own. The first that is free unless given.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The name that others see.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Draw the board, save a picture of it here and exit. A temporary board with sample cards unless a profile is
    /// given.
    #[arg(long, value_name = "FILE")]
    screenshot: Option<PathBuf>,
    /// The size of the window.
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "1280x800", value_parser = size)]
    size: (u32, u32),
    /// Add that many cards to the columns there are, to see how the board copes.
    #[arg(long, value_name = "CARDS")]
    fill: Option<usize>,
    /// Start with a dark board.
    #[arg(long)]
    dark: bool,
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let (width, height) = text.split_once('x').ok_or("a size is two numbers, such as 1280x800")?;
    let number = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
    Ok((number(width)?.clamp(320, 16_384), number(height)?.clamp(240, 16_384)))
}

/// Everything the window shows.
#[derive(Resource, Default)]
pub(crate) struct Board {
    pub view: view::BoardView,
    pub index: view::BoardIndex,
    pub desk: desk::Desk,
    /// The actions of this frame.
    pub actions: Vec<action::Action>,
    pub deleted: Vec<apply::Deleted>,
    /// Whether a person switched to offline.
    pub is_paused: bool,
    /// Where the board is, in words.
    pub place: String,
}

fn main() -> AppExit {
    let arguments = Arguments::parse();
    let is_staged = arguments.screenshot.is_some() && arguments.profile.is_none() && arguments.deployment.is_none();
    let profile = if is_staged { Profile::temporary() } else { Profile::open(arguments.profile.as_deref()) };
    let profile = match profile {
        Ok(profile) => profile,
        Err(message) => {
            eprintln!("{message}");
            return AppExit::error();
        }
    };
    let name = arguments.name.clone().unwrap_or_else(profile::user_name);

    let mut presence = Presence::new(profile.person.clone(), name);
    if is_staged {
        presence.tint = sample::MY_TINT;
    }

    // These lines make the board durable and shared:
    let mut app = App::new();
    app.add_plugins(replication(&arguments, &profile, is_staged))
        .replicate::<Column>("columns")
        .replicate::<Card>("cards")
        .replicate::<Person>("people");

    let title =
        if profile.name == "default" { "Task board".to_owned() } else { format!("Task board ({})", profile.name) };
    app.add_plugins(
        DefaultPlugins.set(WindowPlugin { primary_window: Some(window(title, arguments.size)), ..default() }).set(
            LogPlugin { filter: format!("warn,task_board=info,bevy_convex_replicate=info,{LOG_FILTER}"), ..default() },
        ),
    )
    .add_plugins(EguiPlugin::default())
    .insert_resource(WinitSettings {
        // Edits of others arrive on another thread, which cannot wake the window. So the window looks for them: often
        // enough to be smooth while a person works here, and often enough to be live while a person watches.
        focused_mode: UpdateMode::reactive(Duration::from_millis(16)),
        unfocused_mode: UpdateMode::reactive_low_power(Duration::from_millis(33)),
    })
    .insert_resource(Board {
        desk: desk::Desk { dark: arguments.dark, ..default() },
        place: arguments.deployment.clone().unwrap_or_else(|| "a temporary one".to_owned()),
        ..default()
    })
    .insert_resource(presence)
    .add_systems(PreStartup, |mut egui: ResMut<EguiGlobalSettings>| egui.auto_create_primary_context = false)
    .add_systems(
        Startup,
        (theme::install_shader, |mut commands: Commands| {
            commands.spawn((Camera2d, PrimaryEguiContext));
        }),
    )
    .add_systems(Update, (people::touch, people::beat, apply::watch_documents, apply::watch_sync, people::show).chain())
    .add_systems(EguiPrimaryContextPass, draw)
    .add_systems(Last, apply::carry_out.before(ReplicateSystems::Capture));
    if arguments.deployment.is_none() && !is_staged {
        app.insert_resource(Host::new(host::ADDRESS, profile.backend.clone()))
            .add_systems(Update, host::host.before(apply::watch_sync));
    }
    if let Some(cards) = arguments.fill {
        let fill = move |mut board: ResMut<Board>, mut is_filled: Local<bool>| {
            if board.view.is_ready && !board.view.columns.is_empty() && !*is_filled {
                *is_filled = true;
                board.actions.push(action::Action::Fill(cards));
            }
        };
        app.add_systems(Update, fill.after(people::show));
    }
    if let Some(path) = arguments.screenshot {
        app.insert_resource(Shot::new(path, is_staged))
            .add_systems(Update, shot::stage.after(people::show))
            .add_systems(PostUpdate, shot::take);
    }
    let exit = app.run();
    drop(profile);
    exit
}

/// Stores the board and shares it.
fn replication(arguments: &Arguments, profile: &Profile, is_staged: bool) -> ReplicatePlugin {
    let plugin = ReplicatePlugin::new("bevy-task-board").store(&profile.store);
    match &arguments.deployment {
        Some(url) => plugin.deployment(url),
        // For the picture: a backend that no other window finds.
        None if is_staged => plugin.host("127.0.0.1:0"),
        None => plugin.deployment(format!("http://{}", host::ADDRESS)),
    }
}

fn window(title: String, (width, height): (u32, u32)) -> Window {
    Window {
        title,
        name: Some("task_board".to_owned()),
        resolution: WindowResolution::new(width, height),
        resize_constraints: WindowResizeConstraints { min_width: 560.0, min_height: 400.0, ..default() },
        present_mode: PresentMode::AutoVsync,
        ..default()
    }
}

/// Draws the board and collects the user's actions.
fn draw(mut contexts: EguiContexts, mut board: ResMut<Board>, mut dressed: Local<Option<bool>>) -> Result {
    let context = contexts.ctx_mut()?;
    let board = &mut *board;
    if *dressed != Some(board.desk.dark) {
        if dressed.is_none() {
            theme::install_fonts(context);
        }
        let look = if board.desk.dark { theme::Palette::DARK } else { theme::Palette::LIGHT };
        theme::install_style(context, &look);
        *dressed = Some(board.desk.dark);
        // Fonts are there from the next frame on.
        context.request_repaint();
        return Ok(());
    }
    let actions = board::show(context, &board.view, &mut board.desk);
    board.actions.extend(actions);
    Ok(())
}
