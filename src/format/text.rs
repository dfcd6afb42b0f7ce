//! Edits of texts.

use std::borrow::Cow;

use automerge::{ObjId, TextEncoding, transaction::Transactable};

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
/// removed letters if `held` still has them at that place.
pub(super) fn rebased(held: &str, seen: &str, value: &str) -> String {
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
