//! `--screenshot`: draws the board, saves a picture of it, and ends.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bevy::{
    prelude::*,
    render::view::screenshot::{Screenshot, ScreenshotCaptured},
};
use bevy_convex_replicate::prelude::*;

use crate::{Board, action::Action, model::Person, people::Presence, sample, view::Link};

/// Frames that all is in its place before the picture is taken: fonts and images are on the graphics card by then.
const STILL_FRAMES: u32 = 20;
/// A machine that has not drawn the board by then will not.
const PATIENCE: Duration = Duration::from_secs(90);
/// The time to wait for a connection. After it, the picture is taken without one.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(10);

/// The picture to take.
#[derive(Resource)]
pub struct Shot {
    pub path: PathBuf,
    /// Whether the board is a temporary one, to be filled for the picture.
    pub is_staged: bool,
    started: Instant,
    still: u32,
    is_taken: bool,
}

impl Shot {
    pub fn new(path: PathBuf, is_staged: bool) -> Self {
        Self { path, is_staged, started: Instant::now(), still: 0, is_taken: false }
    }
}

/// Puts columns, cards and some company on an empty board.
pub fn stage(shot: Res<Shot>, mut board: ResMut<Board>, presence: Res<Presence>, mut people: Collection<Person>) {
    if !board.view.is_ready || !shot.is_staged {
        return;
    }
    if board.view.columns.is_empty() {
        board.actions.push(Action::StartBoard);
    } else if board.view.card_count() == 0 {
        board.actions.push(Action::AddSamples);
    }
    if people.is_ready() {
        for (id, person) in sample::people() {
            if people.entity(&id).is_none() && id != presence.me {
                people.insert_with_id(id, person);
            }
        }
    }
}

/// Takes the picture when nothing moves any more.
pub fn take(mut commands: Commands, mut shot: ResMut<Shot>, board: Res<Board>, mut exit: MessageWriter<AppExit>) {
    let waited = shot.started.elapsed();
    if waited > PATIENCE {
        error!("nothing could be drawn within {PATIENCE:?}, so there is no picture");
        exit.write(AppExit::error());
        return;
    }
    if shot.is_taken {
        return;
    }
    let sync = &board.view.sync;
    let is_synced = sync.link == Link::Live && sync.unsent == 0 || waited > CONNECTION_PATIENCE || board.is_paused;
    let is_filled = !shot.is_staged || board.view.card_count() > 0 && board.view.people.len() > 1;
    if board.desk.is_settled && board.view.is_ready && is_filled && is_synced {
        shot.still += 1;
    } else {
        shot.still = 0;
    }
    if shot.still >= STILL_FRAMES {
        shot.is_taken = true;
        commands.spawn(Screenshot::primary_window()).observe(save);
    }
}

fn save(captured: On<ScreenshotCaptured>, shot: Res<Shot>, mut exit: MessageWriter<AppExit>) {
    let saved = || -> Result<(), String> {
        let picture = captured.image.clone().try_into_dynamic().map_err(|error| error.to_string())?;
        let picture = picture.to_rgb8();
        let first = picture.pixels().next().copied();
        if picture.pixels().all(|pixel| Some(*pixel) == first) {
            return Err("the picture is blank: nothing was drawn".to_owned());
        }
        picture.save(&shot.path).map_err(|error| error.to_string())
    };
    match saved() {
        Ok(()) => {
            info!("saved {}", shot.path.display());
            exit.write(AppExit::Success);
        }
        Err(error) => {
            error!("cannot save {}: {error}", shot.path.display());
            exit.write(AppExit::error());
        }
    }
}
