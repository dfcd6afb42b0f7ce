//! When nothing is left to send, a row equals the merged document, also after concurrent pushes.

use crate::apps::{Place, settle, task};

#[test]
fn a_row_equals_the_merged_document_after_concurrent_pushes() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    let id = one.insert(task("start"));
    settle(&place, [&mut one, &mut two]);
    for round in 0..10 {
        one.go_offline();
        two.go_offline();
        one.edit(&id, |task| task.text = format!("{} one {round}", task.text));
        two.edit(&id, |task| task.text = format!("two {round} {}", task.text));
        one.edit(&id, |task| task.votes += 1);
        two.edit(&id, |task| task.is_completed = !task.is_completed);
        one.update();
        two.update();
        one.go_online();
        two.go_online();
        // Waits until both worlds equal the table.
        settle(&place, [&mut one, &mut two]);
    }
    assert_eq!(place.table()[&id].votes.0, 10);
}
