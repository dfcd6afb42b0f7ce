//! Edits of texts.

use std::borrow::Cow;

use automerge::{ObjId, TextEncoding, transaction::Transactable};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::FormatError;

/// The largest product of the lengths of two differing sections that is compared letter by letter. Larger sections are
/// replaced as a block. The time of the comparison grows with this product; it is about 0.1 s at this limit.
const MAX_COMPARISONS: usize = 16_000_000;

/// Applies the change from `seen` to `value` to a text object and returns whether it wrote something. Without `seen`,
/// the change is made from the text that the document holds.
pub(super) fn edit<T: Transactable>(
    document: &mut T,
    id: &ObjId,
    seen: Option<&str>,
    value: &str,
) -> Result<bool, FormatError> {
    let held = document.text(id).map_err(FormatError::of_document)?;
    let value = match seen {
        Some(seen) if seen != held => Cow::Owned(rebased(&held, seen, value)),
        _ => Cow::Borrowed(value),
    };
    if held == value {
        return Ok(false);
    }
    let start = common(held.chars(), value.chars());
    let end = common(held[start..].chars().rev(), value[start..].chars().rev());
    let (old, new) = (&held[start..held.len() - end], &value[start..value.len() - end]);
    if old.len().saturating_mul(new.len()) <= MAX_COMPARISONS {
        document.update_text(id, &*value)
    } else {
        let encoding = document.text_encoding();
        let removed = isize::try_from(width(encoding, old)).unwrap_or(isize::MAX);
        document.splice_text(id, width(encoding, &held[..start]), removed, new)
    }
    .map_err(FormatError::of_document)?;
    Ok(true)
}

/// Applies the change from `seen` to `value` to another text, `held`: inserts the added letters, and removes the
/// removed letters that `held` has too. Letters of `held` that `seen` lacks stay.
pub(super) fn rebased(held: &str, seen: &str, value: &str) -> String {
    if comparisons(seen, held).max(comparisons(seen, value)) > MAX_COMPARISONS {
        return rebased_as_a_block(held, seen, value);
    }
    let [held, seen, value] = [held, seen, value].map(|text| text.chars().collect::<Vec<char>>());
    // Where `held` has the letters of `seen`.
    let mut places: Vec<Option<usize>> = vec![None; seen.len()];
    for op in capture_diff_slices(Algorithm::Myers, &seen, &held) {
        if let DiffOp::Equal { old_index, new_index, len } = op {
            (0..len).for_each(|at| places[old_index + at] = Some(new_index + at));
        }
    }
    let mut removed = vec![false; held.len()];
    // What is added before each letter of `held`, and at the end.
    let mut added = vec![String::new(); held.len() + 1];
    for op in capture_diff_slices(Algorithm::Myers, &seen, &value) {
        if let DiffOp::Equal { .. } = op {
            continue;
        }
        let (old, new) = (op.old_range(), op.new_range());
        places[old.clone()].iter().flatten().for_each(|place| removed[*place] = true);
        // The letters before the change locate it; failing that, those after it.
        let before = places[..old.start].iter().rev().flatten().next().map(|place| place + 1);
        let after = || places[old.end..].iter().flatten().next().copied();
        let at = match old.start {
            0 => 0,
            _ => before.or_else(after).unwrap_or(held.len()),
        };
        added[at].extend(&value[new]);
    }
    let mut text = String::new();
    for (at, added) in added.iter().enumerate() {
        text.push_str(added);
        text.extend(held.get(at).filter(|_| !removed[at]));
    }
    text
}

/// The same for texts that differ in too much to be compared letter by letter: everything between the first and the last
/// difference is one change.
fn rebased_as_a_block(held: &str, seen: &str, value: &str) -> String {
    let start = common(seen.chars(), value.chars());
    let end = common(seen[start..].chars().rev(), value[start..].chars().rev());
    let (removed, added) = (&seen[start..seen.len() - end], &value[start..value.len() - end]);
    let (before, after) = (&seen[..start], &seen[seen.len() - end..]);
    // The text before the change locates it; failing that, the text after it.
    let at = match (held.starts_with(before), held.ends_with(after)) {
        (true, _) => start,
        (false, true) => held.len() - after.len(),
        (false, false) => held.len(),
    };
    let rest = held[at..].strip_prefix(removed).unwrap_or(&held[at..]);
    [&held[..at], added, rest].concat()
}

/// The product of the lengths of the sections in which two texts differ.
fn comparisons(a: &str, b: &str) -> usize {
    let start = common(a.chars(), b.chars());
    let end = common(a[start..].chars().rev(), b[start..].chars().rev());
    (a.len() - start - end).saturating_mul(b.len() - start - end)
}

/// The length in bytes of the common prefix of two letter sequences.
fn common(a: impl Iterator<Item = char>, b: impl Iterator<Item = char>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// The length of `text` in the units of `encoding`.
fn width(encoding: TextEncoding, text: &str) -> usize {
    match encoding {
        TextEncoding::UnicodeCodePoint => text.chars().count(),
        TextEncoding::Utf8CodeUnit => text.len(),
        TextEncoding::Utf16CodeUnit => text.encode_utf16().count(),
        TextEncoding::GraphemeCluster => text.chars().count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_a_shown_text_is_made_once_in_the_text_that_is_held() {
        for (held, seen, value, rebased_text) in [
            // Two changes at once, on both sides of a letter that stays, and a letter that is not held any more.
            ("a", "ab", "xyabz", "xyaz"),
            ("ab", "ab", "xaby", "xaby"),
            ("a12b", "ab", "b", "12b"),
            ("a12b", "ab", "axb", "ax12b"),
            ("12", "ab", "axb", "12x"),
            ("", "ab", "xab", "x"),
            ("ab", "", "x", "xab"),
            ("🦦b", "🦦ab", "ab", "b"),
        ] {
            assert_eq!(rebased(held, seen, value), rebased_text, "{held:?}: {seen:?} to {value:?}");
        }
    }

    #[test]
    fn long_texts_that_differ_in_everything_are_changed_as_a_block() {
        let (seen, value) = ("a".repeat(5_000), "b".repeat(5_000));
        assert_eq!(rebased(&seen, &seen, &value), value);
        assert_eq!(rebased("", &seen, &(seen.clone() + "x")), "x");
    }
}
