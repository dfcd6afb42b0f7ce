//! Counts panics in all threads.

use std::{
    panic,
    sync::{Mutex, Once, PoisonError},
};

static WATCHING: Once = Once::new();
/// The number of panics outside Automerge.
static OURS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static CONTAINED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts to count panics. Panics inside Automerge are expected for some documents and are contained: the case shows
/// this by continuing. They are not printed.
pub fn watch() {
    WATCHING.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let is_automerge = ["automerge-", "hexane-"].iter().any(|name| place.contains(name));
            // A panic of the standard library that Automerge caused (an index, an arithmetic overflow in a generic
            // function) has a location in the standard library.
            let list = if is_automerge { &CONTAINED } else { &OURS };
            list.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{info}"));
            if !is_automerge {
                usual(info);
            }
        }));
    });
}

/// The number of panics outside Automerge so far.
pub fn ours() -> Vec<String> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The number of panics inside Automerge so far.
pub fn contained() -> usize {
    CONTAINED.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// Their locations, each once.
pub fn contained_places() -> Vec<String> {
    let mut places: Vec<String> = CONTAINED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    places.sort();
    places.dedup();
    places
}
