//! Changes that strangers forged, among others that are honest.

use automerge::{ActorId, Change, ROOT, transaction::Transactable};

use super::{Live, Value};
use crate::chunk::sound::tests::{document_and_edits, forgeries, without_automerge_panics};

#[test]
fn a_change_that_makes_no_sense_takes_nothing_else_with_it() {
    without_automerge_panics();
    let (mut base, edits) = document_and_edits();
    let saved = base.save();
    let mut honest = base.fork().with_actor(ActorId::from([3; 16]));
    honest.put(ROOT, "honest", true).unwrap();
    let good = honest.get_changes(&base.get_heads())[0].raw_bytes().to_vec();
    let actor = ActorId::from([4; 16]);
    let mut refused = 0;
    // Only every eleventh forgery is tried, since a document is loaded for each.
    for forged in forgeries(&edits).step_by(11) {
        let hash = Change::try_from(&forged[..]).unwrap().hash();
        let open = || Live::load(&actor, &[saved.clone().into()], 0).unwrap();
        let mut live = open();
        let mut wanted = honest.get_heads();
        match live.merge(&[forged.clone(), good.clone()]) {
            Ok((merged, None)) => {
                assert_eq!(merged.chunks.len(), 2);
                wanted.push(hash);
                wanted.sort();
            }
            Ok((merged, Some(_))) => {
                refused += 1;
                assert_eq!(merged.chunks.len(), 1, "what is refused is not stored");
            }
            Err(_) => {
                refused += 1;
                assert!(open().merge(&[forged]).is_err(), "it is the forged one");
                // This is what the replica does: it reads the document again, and takes in the changes one by one.
                live = open();
                assert!(matches!(live.merge(std::slice::from_ref(&good)), Ok((merged, None)) if merged.moved));
            }
        }
        assert_eq!(live.heads(), wanted);
        assert_eq!(live.value().get("honest"), Some(&Value::Bool(true)));
    }
    assert!(refused > 100, "{refused} refused");
}
