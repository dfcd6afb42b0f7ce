//! The pull cursor is commit order with a tie-break, stored with what it covers.

use crate::apps::{Place, settle, task, until};

#[test]
fn many_documents_of_one_commit_all_arrive_however_often_the_reader_is_interrupted() {
    let place = Place::new();
    let mut one = place.device("one");
    let all = place.many(3_000);
    for number in 0..all {
        one.insert(task(&format!("task {number}")));
    }
    settle(&place, [&mut one]);
    let mut two = place.device("two");
    let mut seen = 0;
    loop {
        until("something more arrives", [&mut two], |[two]| two.tasks().len() > seen);
        seen = two.tasks().len();
        if seen == all {
            break;
        }
        // Ends in the middle of catching up: the checkpoint must not be ahead of what is stored.
        two = two.restart();
        until("the store is read", [&mut two], |[two]| two.seen().ready);
    }
    settle(&place, [&mut one, &mut two]);
}
