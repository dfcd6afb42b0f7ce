//! Reads and writes pass the backend's authorization.

use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    worker::FailureKind,
};

use crate::apps::{Device, task, until};

#[test]
fn a_wrong_token_gets_nothing_and_the_right_one_everything() {
    let folder = tempfile::tempdir().unwrap();
    let config = BackendConfig::new().listen("127.0.0.1:0").data(folder.path().join("backend")).token("sesame");
    let backend = Backend::start(config).unwrap();
    let url = backend.url().to_owned();
    let mut right = Device::with(folder.path().join("right.sqlite"), Some(&url), |plugin| plugin.token("sesame"));
    let mut wrong = Device::with(folder.path().join("wrong.sqlite"), Some(&url), |plugin| plugin.token("simsalabim"));
    let secret = right.insert(task("secret"));
    let unwanted = wrong.insert(task("unwanted"));
    until("one is in, the other is told", [&mut right, &mut wrong], |[right, wrong]| {
        let told = wrong.seen().failures.iter().any(|failure| failure.kind == FailureKind::Unauthenticated);
        right.is_quiet() && told
    });
    assert!(!wrong.tasks().contains_key(&secret));
    assert!(wrong.tasks().contains_key(&unwanted), "the edit is kept");
    let rows = backend.rows("tasks");
    assert_eq!(rows.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&secret]);
}
