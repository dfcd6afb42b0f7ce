//! Documents that are in the world in one state of the app only: the walls of a level are there while the level is
//! played, and gone in the menu.
//!
//! ```text
//! cargo run --example states
//! ```
//!
//! Leaving the level despawns the walls, which hides their documents and deletes nothing. Coming back shows them with
//! the values that they have then.
use bevy::{prelude::*, state::app::StatesPlugin};
use bevy_convex_replicate::prelude::*;

/// The state of the app.
#[derive(States, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Screen {
    /// Without walls.
    #[default]
    Menu,
    /// With walls.
    Level,
}

/// A document.
#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Wall {
    /// Its height.
    pub height: u32,
}

/// Adds the level to an app.
pub fn level(app: &mut App) {
    app.add_plugins(StatesPlugin)
        .init_state::<Screen>()
        .replicate::<Wall>("walls")
        // A wall is despawned with the level, whichever app made it and whenever it arrived.
        .add_observer(|add: On<Add, Wall>, mut commands: Commands| {
            commands.entity(add.entity).insert(DespawnOnExit(Screen::Level));
        })
        // The walls that were despawned on leaving are hidden until they are shown.
        .add_systems(OnEnter(Screen::Level), |mut walls: Collection<Wall>| walls.show_all())
        // Walls that arrive outside of a level wait for it too.
        .add_systems(PreUpdate, hide.after(ReplicateSystems::Apply).run_if(in_state(Screen::Menu)));
}

fn hide(arrived: Query<Entity, With<Wall>>, mut commands: Commands) {
    for wall in &arrived {
        commands.entity(wall).despawn();
    }
}

#[allow(dead_code, reason = "a test runs the app on its own")]
fn main() -> AppExit {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins).add_plugins(ReplicatePlugin::new("bevy-replicate-states"));
    level(&mut app);
    app.add_systems(Update, play).run()
}

/// Plays the level, leaves it, comes back, and ends.
fn play(
    mut walls: Collection<Wall>,
    screen: Res<State<Screen>>,
    status: Res<SyncStatus>,
    (mut next, mut visits): (ResMut<NextState<Screen>>, Local<u32>),
    mut exit: MessageWriter<AppExit>,
) {
    if !walls.is_ready() {
        return;
    }
    match (screen.get(), *visits) {
        (Screen::Menu, _) => {
            println!("in the menu, with {} walls", walls.len());
            next.set(Screen::Level);
        }
        (Screen::Level, 0) => {
            walls.insert(Wall { height: 3 });
            *visits = 1;
        }
        (Screen::Level, 1) if !walls.is_empty() => {
            println!("in the level, with {} walls", walls.len());
            *visits = 2;
            next.set(Screen::Menu);
        }
        (Screen::Level, 2) if !walls.is_empty() && status.is_saved() => {
            println!("back in the level, with {} walls", walls.len());
            exit.write(AppExit::Success);
        }
        _ => {}
    }
}
