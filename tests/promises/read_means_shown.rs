//! An app reports that it has read the deployment, and that it is live, only when its world shows everything that the
//! deployment had.

use std::time::Duration;

use bevy::prelude::*;
use bevy_convex_replicate::prelude::*;

use crate::apps::{Device, Place, Task, settle, task, until};

/// The number of tasks when each condition was first true.
#[derive(Resource, Default, Debug)]
struct First {
    read: Option<usize>,
    live: Option<usize>,
    reported: Option<usize>,
}

fn look(device: &mut Device) {
    device.app.init_resource::<First>().add_systems(
        Update,
        (
            (|mut first: ResMut<First>, tasks: Query<&Task>| {
                first.read.get_or_insert(tasks.iter().len());
            })
            .run_if(deployment_read::<Task>),
            (|mut first: ResMut<First>, tasks: Query<&Task>| {
                first.live.get_or_insert(tasks.iter().len());
            })
            .run_if(sync_live),
            |mut first: ResMut<First>, mut read: MessageReader<DeploymentRead<Task>>, tasks: Query<&Task>| {
                if read.read().count() > 0 {
                    first.reported.get_or_insert(tasks.iter().len());
                }
            },
        ),
    );
}

fn first(device: &Device) -> &First {
    device.app.world().resource::<First>()
}

#[test]
fn a_fresh_device_shows_everything_when_it_reports_that_the_deployment_is_read() {
    let place = Place::new();
    let mut owner = place.device("owner");
    let number = place.many(600);
    for n in 0..number {
        owner.insert(task(&n.to_string()));
    }
    settle(&place, [&mut owner]);
    for fresh in 0..8 {
        // Applying is slow, as on a device where the rest of a frame takes long.
        let store = place.store(&format!("fresh {fresh}"));
        let mut device = Device::with(store, Some(&place.url()), |plugin| plugin.apply_budget(Duration::ZERO));
        look(&mut device);
        until("it has read all", [&mut device], |[device]| {
            let first = first(device);
            first.read.is_some() && first.live.is_some() && first.reported.is_some()
        });
        let first = first(&device);
        assert_eq!(
            (first.read, first.live, first.reported),
            (Some(number), Some(number), Some(number)),
            "device {fresh}"
        );
    }
}

#[test]
fn after_a_time_offline_the_deployment_counts_as_read_once_the_app_has_caught_up() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    one.insert(task("first"));
    settle(&place, [&mut one, &mut two]);
    assert!(two.status().deployment_read);
    two.go_offline();
    until("it is offline", [&mut two], |[two]| two.status().is_offline());
    assert!(!two.status().deployment_read);
    for n in 0..place.many(300) {
        one.insert(task(&n.to_string()));
    }
    settle(&place, [&mut one]);
    look(&mut two);
    two.go_online();
    until("it has caught up", [&mut two], |[two]| first(two).read.is_some() && first(two).live.is_some());
    let all = place.many(300) + 1;
    assert_eq!((first(&two).read, first(&two).live), (Some(all), Some(all)));
    assert!(two.status().deployment_read);
}

#[test]
fn without_a_deployment_reading_the_store_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let mut alone = Device::open(store.clone(), None);
    alone.insert(task("kept"));
    until("it is saved", [&mut alone], |[alone]| alone.status().is_saved() && alone.status().deployment_read);
    drop(alone);
    let mut again = Device::open(store.clone(), None);
    look(&mut again);
    until("the store is read", [&mut again], |[again]| first(again).read.is_some());
    assert_eq!(first(&again).read, Some(1));
    assert!(!again.status().is_live());
    drop(again);
    // An unreachable deployment has something to read, and it was not read.
    let mut unreachable = Device::open(store, Some("http://127.0.0.1:1"));
    until("it was tried", [&mut unreachable], |[device]| device.seen().ready && device.status().reason().is_some());
    assert!(!unreachable.status().deployment_read);
}
