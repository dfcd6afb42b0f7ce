//! A remote change is never pushed back.

use bevy_convex_replicate::prelude::Origin;

use crate::apps::{Place, settle, task};

#[test]
fn the_log_has_one_change_for_each_edit() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    let id = one.insert(task("one"));
    settle(&place, [&mut one, &mut two]);
    for round in 0..20 {
        let device = if round % 2 == 0 { &mut one } else { &mut two };
        device.edit(&id, |task| task.text.push('x'));
        settle(&place, [&mut one, &mut two]);
    }
    assert_eq!(place.changes(), 21);
    let local = |device: &crate::apps::Device| device.seen().changes.iter().filter(|c| c.2 == Origin::Local).count();
    assert_eq!((local(&one), local(&two)), (11, 10));
}
