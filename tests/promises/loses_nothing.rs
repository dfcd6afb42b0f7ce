//! An edit that reached the store survives the end of the process and reaches every replica.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::apps::{Device, Place, settle, task, until};

/// Set in the process that is killed: the store that it writes to.
const VICTIM: &str = "REPLICATE_TEST_VICTIM_STORE";

#[test]
fn a_client_that_made_a_thousand_edits_offline_sends_all_of_them() {
    let place = Place::new();
    let mut one = place.device("one");
    let id = one.insert(task(""));
    settle(&place, [&mut one]);
    one.go_offline();
    for _ in 0..1_000 {
        one.edit(&id, |task| task.votes += 1);
        one.update();
    }
    until("it is saved", [&mut one], |[one]| one.status().is_saved());
    assert!(!one.status().is_sent());
    let mut one = one.restart();
    let mut two = place.device("two");
    let tasks = settle(&place, [&mut one, &mut two]);
    assert_eq!(tasks[&id].votes.0, 1_000);
}

#[test]
fn edits_reported_as_saved_survive_a_kill() {
    let place = Place::new();
    let store = place.store("victim");
    let mut saved = 0;
    for round in 0..4 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "loses_nothing::victim", "--nocapture"])
            .env(VICTIM, &store)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The process prints how many tasks it has made, edited and saved. After a few, it is killed at an arbitrary
        // point.
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let reports = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("saved ")?.parse::<usize>().ok());
        for count in reports {
            saved = saved.max(count);
            if count >= (round + 1) * 40 {
                break;
            }
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(saved >= (round + 1) * 40, "the victim ended early, with {saved} saved");
        let mut device = Device::open(store.clone(), Some(&place.url()));
        let tasks = settle(&place, [&mut device]);
        assert!(tasks.len() >= saved, "{saved} were reported as saved, {} are left", tasks.len());
        let votes: i64 = tasks.values().map(|task| task.votes.0).sum();
        assert!(votes as usize >= saved, "of {saved} edits {votes} are left");
    }
}

/// Not a test itself: the process that [`edits_reported_as_saved_survive_a_kill`] kills.
#[test]
fn victim() {
    let Some(store) = std::env::var_os(VICTIM) else { return };
    let mut device = Device::open(store.into(), None);
    until("the store is read", [&mut device], |[device]| device.seen().ready);
    loop {
        let id = device.insert(task("precious"));
        device.update();
        device.edit(&id, |task| task.votes += 1);
        until("it is saved", [&mut device], |[device]| device.status().is_saved());
        // Edits are counted, not tasks, because an earlier process may have been killed between making a task and
        // editing it.
        let edits: i64 = device.tasks().values().map(|task| task.votes.0).sum();
        println!("saved {edits}");
    }
}

/// With backends that keep their data when they stop.
mod durable {
    use super::*;

    #[test]
    fn a_backend_restored_from_a_backup_is_offered_the_changes_that_it_lacks() {
        let mut place = Place::durable();
        let mut one = place.device("one");
        let before = one.insert(task("before the backup"));
        settle(&place, [&mut one]);
        place.back_up_backend();
        let after = one.insert(task("after it"));
        one.edit(&before, |task| task.votes += 1);
        settle(&place, [&mut one]);
        one.go_offline();
        one.update();
        place.put_back_backend();
        assert_eq!(place.table().len(), 1, "the backup has the first alone");
        // The new log grows past the position that the first device knows.
        let mut two = place.device("two");
        for number in 0..20 {
            two.insert(task(&format!("of the other {number}")));
        }
        settle(&place, [&mut two]);
        one.go_online();
        let tasks = settle(&place, [&mut one, &mut two]);
        assert_eq!(tasks.len(), 22);
        assert_eq!(tasks[&after].text, "after it");
        assert_eq!(tasks[&before].votes.0, 1);
        // The device offers everything only once: after the next start it finds the same log.
        let changes = place.changes();
        place.stop_backend();
        place.start_backend();
        settle(&place, [&mut one, &mut two]);
        assert_eq!(place.changes(), changes);
    }

    #[test]
    fn no_edit_is_lost_when_the_backend_stops_during_edits() {
        let mut place = Place::durable();
        let (mut one, mut two) = (place.device("one"), place.device("two"));
        let id = one.insert(task(""));
        settle(&place, [&mut one, &mut two]);
        for round in 0..4 {
            for _ in 0..25 {
                one.edit(&id, |task| task.votes += 1);
                two.edit(&id, |task| task.votes += 1);
                one.update();
                two.update();
            }
            if round % 2 == 0 {
                place.stop_backend();
                until("they notice", [&mut one, &mut two], |devices| devices.iter().all(|d| !d.status().is_live()));
            } else {
                place.start_backend();
            }
        }
        let tasks = settle(&place, [&mut one, &mut two]);
        assert_eq!(tasks[&id].votes.0, 200);
    }
}
