//! A client that was away for longer than deleted documents are kept starts over: no deleted document comes back, and
//! every lost edit is reported.

use std::time::Duration;

use bevy_convex_replicate::{prelude::ChangeKind, worker::FailureKind};

use crate::apps::{Device, Place, settle, task, until};

fn reported(device: &Device) -> Vec<String> {
    let pruned = device.seen().failures.iter().filter(|failure| failure.kind == FailureKind::Pruned);
    pruned.map(|failure| failure.document.as_ref().expect("it names the document").to_string()).collect()
}

mod durable {
    use super::*;

    #[test]
    fn a_client_that_was_away_too_long_drops_pruned_documents_and_sends_the_rest() {
        let mut place = Place::durable();
        let (mut stays, mut away) = (place.device("stays"), place.device("away"));
        let edited = stays.insert(task("edited by the client that is away"));
        let untouched = stays.insert(task("seen by the client that is away"));
        let kept = stays.insert(task("kept"));
        settle(&place, [&mut stays, &mut away]);

        away.go_offline();
        away.edit(&edited, |task| task.text.push_str(", and lost"));
        away.edit(&kept, |task| task.text.push('!'));
        let made = away.insert(task("made while away"));
        until("it is stored", [&mut away], |[away]| away.status().is_saved() && away.status().unsent == 3);
        let store = away.into_store();

        stays.delete(&edited);
        stays.delete(&untouched);
        settle(&place, [&mut stays]);
        place.stop_backend();
        place.retention = Duration::ZERO;
        place.start_backend();
        until("they are pruned", [&mut stays], |_| place.rows().iter().all(|(id, _)| *id == kept));

        let mut away = Device::open(store, Some(&place.url()));
        until("the failure is reported", [&mut away], |[away]| !reported(away).is_empty());
        let tasks = settle(&place, [&mut stays, &mut away]);
        let mut left = vec![&kept, &made];
        left.sort();
        assert_eq!(tasks.keys().collect::<Vec<_>>(), left);
        assert_eq!(tasks[&kept].text, "kept!");
        assert_eq!(
            reported(&away),
            [edited.to_string()],
            "a document without unsent edits is dropped without a report"
        );
        for id in [&edited, &untouched] {
            let removed = away.seen().changes.iter().any(|(of, kind, _)| of == id && *kind == ChangeKind::Removed);
            assert!(removed, "the app is notified that {id} is removed");
        }
        assert!(stays.seen().failures.is_empty(), "{:?}", stays.seen().failures);

        // The document is gone from the store too: no part of it is shown or offered again.
        let mut away = away.restart();
        assert_eq!(settle(&place, [&mut away]), tasks);
        assert!(away.seen().failures.is_empty(), "{:?}", away.seen().failures);
        assert_eq!(away.seen().changes.iter().filter(|(id, ..)| *id == edited).count(), 0);
    }

    #[test]
    fn restoring_a_pruned_document_is_reported_and_undone() {
        let mut place = Place::durable();
        let mut device = place.device("one");
        let (id, other) = (device.insert(task("gone")), device.insert(task("other")));
        settle(&place, [&mut device]);
        device.delete(&id);
        settle(&place, [&mut device]);
        place.stop_backend();
        place.retention = Duration::ZERO;
        place.start_backend();
        until("it is pruned", [&mut device], |_| place.rows().iter().all(|(id, _)| *id == other));
        device.restore(&id);
        until("the failure is reported", [&mut device], |[device]| reported(device) == [id.to_string()]);
        device.edit(&other, |task| task.text.push('!'));
        let tasks = settle(&place, [&mut device]);
        assert_eq!(tasks.into_values().map(|task| task.text).collect::<Vec<_>>(), ["other!"]);
    }
}
