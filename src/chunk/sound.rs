//! Adds changes of others to a document, and checks that the document stays whole.
//!
//! A change can have the right checksum and still make no sense in its document: it edits an object that is not there,
//! or replaces an operation that never existed. Automerge then panics, or takes the change and from then on saves a
//! document that no program can load. So each new change is read from the document again, which must give the same
//! change.

use automerge::{Automerge, AutomergeError, Change, ChangeHash, ReadDoc};

use super::inspect;

/// Fewer changes than this are looked up one by one, which costs less than to go through a long history.
const FEW: usize = 16;
/// The column with the action of each operation, and the action that starts or ends formatting ([`MARK`]). Automerge
/// finds out only when a saved document is loaded whether starts and ends fit together.
/// <https://automerge.org/automerge-binary-format-spec/>
const ACTION_COLUMN: u64 = 4 << 4 | 2;
const MARK: u64 = 7;

/// Applies changes to a document at the heads `before`, and checks that the document then holds the changes in
/// `unproven`, which are among them. `apply` applies them and returns the document. After an error the caller must drop
/// the document.
pub(crate) fn apply<'a>(
    before: &[ChangeHash],
    changes: Vec<Change>,
    unproven: &[ChangeHash],
    apply: impl FnOnce(Vec<Change>) -> Result<&'a Automerge, AutomergeError>,
) -> Result<(), String> {
    let formats = changes.iter().any(|change| unproven.contains(&change.hash()) && has_marks(change.raw_bytes()));
    let document = guarded("merge", || apply(changes))?.map_err(|error| error.to_string())?;
    if let Some(lost) = guarded("read", || lost(document, before, unproven))? {
        return Err(format!("change {lost} does not fit the document"));
    }
    if formats {
        let again = guarded("save", || Automerge::load(&document.save()))?.map_err(|error| error.to_string())?;
        if again.get_heads() != document.get_heads() {
            return Err("its formatting does not fit the document".into());
        }
    }
    Ok(())
}

fn guarded<T>(what: &str, run: impl FnOnce() -> T) -> Result<T, String> {
    inspect::guarded(what, run).map_err(|error| error.to_string())
}

/// The first of these changes that the document does not return as it came.
fn lost(document: &Automerge, before: &[ChangeHash], changes: &[ChangeHash]) -> Option<ChangeHash> {
    if changes.len() < FEW {
        let held = |hash: &ChangeHash| document.get_change_by_hash(hash).is_some_and(|change| change.hash() == *hash);
        return changes.iter().find(|hash| !held(hash)).copied();
    }
    let held: std::collections::HashSet<_> = document.get_changes(before).iter().map(Change::hash).collect();
    changes.iter().find(|hash| !held.contains(hash)).copied()
}

/// Whether a change has formatting, or cannot be read.
fn has_marks(raw: &[u8]) -> bool {
    actions(raw).is_none_or(|actions| actions.contains(&MARK))
}

/// The actions in an uncompressed change, each run of equal ones once. `None` if the bytes end too early.
fn actions(raw: &[u8]) -> Option<Vec<u64>> {
    let mut rest = body(raw)?;
    let mut columns = Vec::new();
    for _ in 0..number(&mut rest)? {
        columns.push((number(&mut rest)?, usize::try_from(number(&mut rest)?).ok()?));
    }
    let mut actions = Vec::new();
    for (column, length) in columns {
        let (mut data, after) = rest.split_at_checked(length)?;
        rest = after;
        if column != ACTION_COLUMN {
            continue;
        }
        while !data.is_empty() {
            // Run-length encoding: a count of one value; a negative count of values one by one; or 0 and a count of
            // rows without a value.
            match signed(&mut data)? {
                0 => {
                    number(&mut data)?;
                }
                1.. => actions.push(number(&mut data)?),
                literal => {
                    for _ in 0..literal.unsigned_abs() {
                        actions.push(number(&mut data)?);
                    }
                }
            }
        }
    }
    Some(actions)
}

/// The bytes of a change after its header: its columns.
fn body(raw: &[u8]) -> Option<&[u8]> {
    let mut rest = raw.get(9..)?;
    number(&mut rest)?; // length
    skip(&mut rest, 32)?; // dependencies
    skip(&mut rest, 1)?; // actor
    number(&mut rest)?; // sequence number
    number(&mut rest)?; // first operation
    signed(&mut rest)?; // time
    skip(&mut rest, 1)?; // message
    for _ in 0..number(&mut rest)? {
        skip(&mut rest, 1)?; // another actor
    }
    Some(rest)
}

/// Passes over a count and as many entries of `size` bytes.
fn skip(rest: &mut &[u8], size: usize) -> Option<()> {
    let count = usize::try_from(number(rest)?).ok()?;
    *rest = rest.get(count.checked_mul(size)?..)?;
    Some(())
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    leb128::read::unsigned(rest).ok()
}

fn signed(rest: &mut &[u8]) -> Option<i64> {
    leb128::read::signed(rest).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use automerge::{
        ActorId, AutoCommit, ObjType, ROOT, ScalarValue,
        marks::{ExpandMark, Mark},
        transaction::Transactable,
    };
    use sha2::{Digest, Sha256};

    use super::*;

    /// A document, and one edit of it of each kind.
    pub(crate) fn document_and_edits() -> (AutoCommit, Vec<Vec<u8>>) {
        let mut base = AutoCommit::new().with_actor(ActorId::from([1; 16]));
        let text = base.put_object(ROOT, "text", ObjType::Text).unwrap();
        base.splice_text(&text, 0, 0, "hello world").unwrap();
        let list = base.put_object(ROOT, "list", ObjType::List).unwrap();
        for index in 0..3 {
            base.insert(&list, index, index as i64).unwrap();
        }
        base.put(ROOT, "count", ScalarValue::counter(3)).unwrap();
        base.put(ROOT, "number", 1).unwrap();
        base.commit();
        let before = base.get_heads();
        let mut edits = Vec::new();
        let mut edit = |make: &dyn Fn(&mut AutoCommit)| {
            let mut fork = base.fork().with_actor(ActorId::from([2; 16]));
            make(&mut fork);
            fork.commit();
            edits.push(fork.get_changes(&before)[0].raw_bytes().to_vec());
        };
        edit(&|d| d.put(ROOT, "number", 2).unwrap());
        edit(&|d| d.splice_text(&text, 3, 2, "abc").unwrap());
        edit(&|d| d.insert(&list, 1, 9).unwrap());
        edit(&|d| d.increment(ROOT, "count", 4).unwrap());
        edit(&|d| {
            let map = d.put_object(ROOT, "map", ObjType::Map).unwrap();
            d.put(&map, "x", "y").unwrap();
        });
        edit(&|d| d.delete(ROOT, "number").unwrap());
        edit(&|d| d.mark(&text, Mark::new("bold".into(), true, 1, 4), ExpandMark::After).unwrap());
        (base, edits)
    }

    /// The change with one byte set to another value, and the right checksum. `None` if the result is no change.
    pub(crate) fn forged(raw: &[u8], at: usize, byte: u8) -> Option<Vec<u8>> {
        let mut forged = raw.to_vec();
        forged[at] = byte;
        let hash = Sha256::digest(&forged[8..]);
        forged[4..8].copy_from_slice(&hash[..4]);
        guarded("read", || Change::try_from(&forged[..])).ok()?.ok()?;
        Some(forged)
    }

    /// Every forgery of these edits that differs in one byte.
    pub(crate) fn forgeries(edits: &[Vec<u8>]) -> impl Iterator<Item = Vec<u8>> + '_ {
        edits.iter().flat_map(|raw| {
            (raw.len() - body(raw).unwrap().len()..raw.len()).flat_map(move |at| {
                (0..=255).filter(move |byte| *byte != raw[at]).filter_map(move |byte| forged(raw, at, byte))
            })
        })
    }

    /// Keeps Automerge's panics out of the output: these tests cause thousands and catch them.
    pub(crate) fn without_automerge_panics() {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|location| location.file().contains("automerge-")) {
                tell(panic);
            }
        }));
    }

    #[test]
    fn an_accepted_change_can_always_be_saved_and_loaded() {
        without_automerge_panics();
        let (mut base, edits) = document_and_edits();
        let (saved, heads) = (base.save(), base.get_heads());
        let (mut taken, mut refused) = (0, 0);
        for raw in forgeries(&edits) {
            let change = Change::try_from(&raw[..]).unwrap();
            let hash = change.hash();
            let mut document = Automerge::load(&saved).unwrap();
            let result = apply(&heads, vec![change], &[hash], |changes| {
                document.apply_changes(changes)?;
                Ok(&document)
            });
            if result.is_err() {
                refused += 1;
                continue;
            }
            taken += 1;
            let again = guarded("load", || Automerge::load(&document.save())).unwrap().unwrap();
            assert_eq!(again.get_heads(), document.get_heads());
            assert_eq!(again.get_heads(), [hash]);
            assert_eq!(crate::format::read(&again), crate::format::read(&document));
        }
        assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
    }

    #[test]
    fn honest_edits_are_taken_in() {
        let (mut base, edits) = document_and_edits();
        let (saved, heads) = (base.save(), base.get_heads());
        for raw in &edits {
            let change = Change::try_from(&raw[..]).unwrap();
            let hash = change.hash();
            let mut document = Automerge::load(&saved).unwrap();
            apply(&heads, vec![change], &[hash], |changes| {
                document.apply_changes(changes)?;
                Ok(&document)
            })
            .unwrap();
        }
        assert!(has_marks(edits.last().unwrap()));
        assert!(edits[..edits.len() - 1].iter().all(|raw| !has_marks(raw)));
    }
}
