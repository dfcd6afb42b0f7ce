//! Counts panics, in whatever thread.

use std::{
    panic,
    sync::{Mutex, Once, PoisonError},
};

static WATCHING: Once = Once::new();
/// Panics outside of Automerge.
static OURS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static CONTAINED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on panics are counted. Those inside Automerge are expected for some documents, and contained: a case shows that by going on. They are not
/// printed.
pub fn watch() {
    WATCHING.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let is_automerge = ["automerge-", "hexane-"].iter().any(|name| place.contains(name));
            // Those of the standard library on behalf of Automerge (an index, an arithmetic overflow in a generic) bear its place.
            let list = if is_automerge { &CONTAINED } else { &OURS };
            list.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{info}"));
            if !is_automerge {
                usual(info);
            }
        }));
    });
}

/// Panics outside of Automerge so far.
pub fn ours() -> Vec<String> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// How often Automerge has panicked so far.
pub fn contained() -> usize {
    CONTAINED.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// Where it did, each once.
pub fn contained_places() -> Vec<String> {
    let mut places: Vec<String> = CONTAINED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    places.sort();
    places.dedup();
    places
}
