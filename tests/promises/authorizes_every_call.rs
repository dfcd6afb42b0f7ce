//! Every read and write is checked by the backend's authorization.

use std::sync::{Arc, Mutex};

use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    worker::FailureKind,
};

use crate::apps::{Device, Place, TOKEN, task, until};

/// Returns the token that is set, and records whether it was asked to refresh it.
#[derive(Clone, Default)]
struct Tokens(Arc<Mutex<(String, Vec<bool>)>>);

impl Tokens {
    fn set(&self, token: &str) {
        self.0.lock().unwrap().0 = token.to_owned();
    }

    fn give(&self, refresh: bool) -> String {
        let mut tokens = self.0.lock().unwrap();
        tokens.1.push(refresh);
        tokens.0.clone()
    }

    fn asked(&self) -> Vec<bool> {
        self.0.lock().unwrap().1.clone()
    }
}

fn reported(device: &Device) -> usize {
    device.seen().failures.iter().filter(|failure| failure.kind == FailureKind::Unauthenticated).count()
}

#[test]
fn a_token_that_expires_during_a_session_is_refreshed_and_a_refusal_keeps_the_edits() {
    let folder = tempfile::tempdir().unwrap();
    let config = BackendConfig::new().data(folder.path().join("backend")).token("monday");
    let backend = Backend::start(config).unwrap();
    let tokens = Tokens::default();
    tokens.set("monday");
    let given = tokens.clone();
    let mut device = Device::with(folder.path().join("store.sqlite"), Some(backend.url()), |plugin| {
        plugin.auth(move |refresh| std::future::ready(Ok(Some(given.give(refresh)))))
    });
    let first = device.insert(task("on monday"));
    until("it is connected", [&mut device], |[device]| device.is_quiet());
    assert_eq!(tokens.asked().first(), Some(&false));

    // The callback has the new token when it is asked, so the app is not interrupted.
    tokens.set("tuesday");
    let asked = tokens.asked().len();
    backend.replace_token("tuesday").unwrap();
    until("a token is asked for", [&mut device], |_| tokens.asked().len() > asked);
    let second = device.insert(task("on tuesday"));
    until("it is connected again", [&mut device], |[device]| device.is_quiet() && backend.rows("tasks").len() == 2);
    assert!(tokens.asked()[asked], "it is asked to refresh the one that was refused");

    // The callback has only the old token: the refusal is reported, and edits wait.
    let before = reported(&device);
    backend.replace_token("wednesday").unwrap();
    until("the refusal is reported", [&mut device], |[device]| reported(device) > before);
    device.edit(&first, |task| task.text.push_str(", edited"));
    let third = device.insert(task("on wednesday"));
    until("they are saved", [&mut device], |[device]| device.status().is_saved() && device.status().unsent == 2);
    assert_eq!(backend.rows("tasks").len(), 2);
    assert!(!device.status().is_live());

    tokens.set("wednesday");
    until("they are sent", [&mut device], |[device]| device.is_quiet() && backend.rows("tasks").len() == 3);
    let tasks = device.tasks();
    assert_eq!(tasks[&first].text, "on monday, edited");
    assert!(tasks.contains_key(&second) && tasks.contains_key(&third));
}

#[test]
fn a_wrong_token_receives_nothing_and_the_right_token_everything() {
    let place = Place::guarded();
    let url = place.url();
    let mut right = Device::with(place.store("right"), Some(&url), |plugin| plugin.token(TOKEN));
    let mut wrong = Device::with(place.store("wrong"), Some(&url), |plugin| plugin.token("simsalabim"));
    let secret = right.insert(task("secret"));
    let unwanted = wrong.insert(task("unwanted"));
    until("one is connected and the refusal of the other is reported", [&mut right, &mut wrong], |[right, wrong]| {
        let reported = wrong.seen().failures.iter().any(|failure| failure.kind == FailureKind::Unauthenticated);
        right.is_quiet() && reported
    });
    assert!(!wrong.tasks().contains_key(&secret));
    assert!(wrong.tasks().contains_key(&unwanted), "the edit is kept");
    let ids: Vec<_> = place.rows().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [secret]);
}
