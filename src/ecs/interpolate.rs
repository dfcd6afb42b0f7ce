//! Moves the entities of peers smoothly, although their values come a few times a second.

use std::{marker::PhantomData, time::Duration};

use bevy::prelude::*;

use super::Replicated;
use crate::record::PeerId;

/// A peer that was still for longer than this starts to move anew: the time since then says nothing about its rate.
/// The slowest rate that is usual is four values a second.
const STILL: Duration = Duration::from_millis(400);
/// How long the first move after that takes.
const FIRST: Duration = Duration::from_millis(100);

/// Where an entity is on its way from one value to the next.
#[derive(Component)]
struct Moving<T> {
    from: Transform,
    to: Transform,
    since: Duration,
    takes: Duration,
    is_there: bool,
    of: PhantomData<fn() -> T>,
}

/// The place of a peer, as its value says.
#[derive(Resource)]
struct Target<T>(fn(&T) -> Transform);

/// Adds the system. A second call replaces `target`.
pub(crate) fn register<T: Replicated>(app: &mut App, target: fn(&T) -> Transform) {
    if app.world().contains_resource::<Target<T>>() {
        app.insert_resource(Target(target));
        return;
    }
    app.insert_resource(Target(target))
        .add_systems(PreUpdate, (aim::<T>, go::<T>).chain().after(super::ReplicateSystems::Apply));
}

/// A peer with its place, if it has one.
type Aimed<'a, T> = (Entity, &'a T, Option<&'a Transform>, Option<&'a mut Moving<T>>);
/// Peers with a new value.
type New<T> = (Changed<T>, With<PeerId>);

/// Starts to move the peers with a new value.
fn aim<T: Replicated>(
    mut commands: Commands,
    time: Res<Time<Real>>,
    target: Res<Target<T>>,
    mut peers: Query<Aimed<'_, T>, New<T>>,
) {
    let now = time.elapsed();
    for (entity, value, shown, moving) in &mut peers {
        let to = (target.0)(value);
        match (moving, shown) {
            (Some(mut moving), Some(shown)) => {
                let since = now.saturating_sub(moving.since);
                let takes = if since > STILL { FIRST } else { since };
                *moving = Moving { from: *shown, to, since: now, takes, is_there: false, of: PhantomData };
            }
            // A peer appears where it is.
            _ => {
                let moving =
                    Moving { from: to, to, since: now, takes: FIRST, is_there: true, of: PhantomData::<fn() -> T> };
                commands.entity(entity).try_insert((to, moving));
            }
        }
    }
}

fn go<T: Replicated>(time: Res<Time<Real>>, mut peers: Query<(&mut Transform, &mut Moving<T>)>) {
    let now = time.elapsed();
    for (mut shown, mut moving) in &mut peers {
        if moving.is_there {
            continue;
        }
        let part = now.saturating_sub(moving.since).as_secs_f32() / moving.takes.as_secs_f32().max(f32::EPSILON);
        if part >= 1.0 {
            *shown = moving.to;
            moving.is_there = true;
        } else {
            let Moving { from, to, .. } = &*moving;
            *shown = Transform {
                translation: from.translation.lerp(to.translation, part),
                rotation: from.rotation.slerp(to.rotation, part),
                scale: from.scale.lerp(to.scale, part),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use bevy::time::TimeUpdateStrategy;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Component, Serialize, Deserialize, Clone)]
    struct At(f32);

    fn x(app: &App, entity: Entity) -> f32 {
        app.world().get::<Transform>(entity).unwrap().translation.x
    }

    #[test]
    fn a_peer_appears_where_it_is_and_moves_to_the_next_place_in_the_time_between_two_values() {
        let mut app = App::new();
        app.add_plugins(MinimalPlugins).insert_resource(TimeUpdateStrategy::ManualDuration(Duration::from_millis(50)));
        register::<At>(&mut app, |at| Transform::from_xyz(at.0, 0.0, 0.0));
        let peer = app.world_mut().spawn((At(4.0), PeerId::of_session("a"))).id();
        let other = app.world_mut().spawn(At(4.0)).id();
        app.update();
        app.update();
        assert_eq!(x(&app, peer), 4.0);
        assert!(app.world().get::<Transform>(other).is_none(), "only peers are moved");

        // The next value comes after some frames, and as many later the peer is there.
        app.update();
        app.world_mut().get_mut::<At>(peer).unwrap().0 = 8.0;
        let mut places = Vec::new();
        while places.last() != Some(&8.0) {
            app.update();
            places.push(x(&app, peer));
            assert!(places.len() < 20, "{places:?}");
        }
        assert!(places.is_sorted() && places.len() > 2, "{places:?}");
        assert!(places.iter().all(|x| (4.0..=8.0).contains(x)), "{places:?}");

        // A peer that is there is not touched.
        app.update();
        let tick = app.world().entity(peer).get_ref::<Transform>().unwrap().last_changed();
        app.update();
        assert_eq!(app.world().entity(peer).get_ref::<Transform>().unwrap().last_changed(), tick);
    }
}
