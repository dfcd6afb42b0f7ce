//! Texts, edited by their difference.

use std::borrow::Cow;

use automerge::{ObjId, TextEncoding, transaction::Transactable};

use super::FormatError;

/// Up to so many letters of the one times letters of the other, what differs is compared letter by letter; beyond, it is
/// replaced as a block. The comparison takes time in proportion, and this is about 0.1 s of it.
const COMPARED: usize = 16_000_000;

/// Makes the change from `seen` to `value` in a text object; whether that took a write. An app that has seen nothing of
/// the text has seen what it holds.
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
    if old.len().saturating_mul(new.len()) <= COMPARED {
        document.update_text(id, &*value)
    } else {
        let encoding = document.text_encoding();
        let removed = isize::try_from(width(encoding, old)).unwrap_or(isize::MAX);
        document.splice_text(id, width(encoding, &held[..start]), removed, new)
    }
    .map_err(FormatError::of_document)?;
    Ok(true)
}

/// What `held` becomes by the change from `seen` to `value`, made without knowing `held`: letters that were added are
/// added, and letters that were removed are removed where they are there.
pub(super) fn rebased(held: &str, seen: &str, value: &str) -> String {
    let start = common(seen.chars(), value.chars());
    let end = common(seen[start..].chars().rev(), value[start..].chars().rev());
    let (removed, added) = (&seen[start..seen.len() - end], &value[start..value.len() - end]);
    let (before, after) = (&seen[..start], &seen[seen.len() - end..]);
    // The place is known by what is before it, or else by what is after it.
    let at = match (held.starts_with(before), held.ends_with(after)) {
        (true, _) => start,
        (false, true) => held.len() - after.len(),
        (false, false) => held.len(),
    };
    let rest = held[at..].strip_prefix(removed).unwrap_or(&held[at..]);
    [&held[..at], added, rest].concat()
}

/// The length in bytes of what two strings have in common from the side they are given from.
fn common(a: impl Iterator<Item = char>, b: impl Iterator<Item = char>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// How far `text` goes in a document that counts in `encoding`.
fn width(encoding: TextEncoding, text: &str) -> usize {
    match encoding {
        TextEncoding::UnicodeCodePoint => text.chars().count(),
        TextEncoding::Utf8CodeUnit => text.len(),
        TextEncoding::Utf16CodeUnit => text.encode_utf16().count(),
        TextEncoding::GraphemeCluster => text.chars().count(),
    }
}
