//! Reads and writes pass the backend's authorization.

use bevy_convex_replicate::worker::FailureKind;

use crate::apps::{Device, Place, TOKEN, task, until};

#[test]
fn a_wrong_token_gets_nothing_and_the_right_one_everything() {
    let place = Place::guarded();
    let url = place.url();
    let mut right = Device::with(place.store("right"), Some(&url), |plugin| plugin.token(TOKEN));
    let mut wrong = Device::with(place.store("wrong"), Some(&url), |plugin| plugin.token("simsalabim"));
    let secret = right.insert(task("secret"));
    let unwanted = wrong.insert(task("unwanted"));
    until("one is in, the other is told", [&mut right, &mut wrong], |[right, wrong]| {
        let told = wrong.seen().failures.iter().any(|failure| failure.kind == FailureKind::Unauthenticated);
        right.is_quiet() && told
    });
    assert!(!wrong.tasks().contains_key(&secret));
    assert!(wrong.tasks().contains_key(&unwanted), "the edit is kept");
    let ids: Vec<_> = place.rows().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [secret]);
}
