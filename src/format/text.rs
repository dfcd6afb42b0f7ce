//! Texts, edited by their difference.

use automerge::{ObjId, TextEncoding, transaction::Transactable};

use super::FormatError;

/// Up to so many letters of the one times letters of the other, what differs is compared letter by letter; beyond, it is
/// replaced as a block. The comparison takes time in proportion, and this is about 0.1 s of it.
const COMPARED: usize = 16_000_000;

/// Makes a text object read `value`; whether that took a write.
pub(super) fn edit<T: Transactable>(document: &mut T, id: &ObjId, value: &str) -> Result<bool, FormatError> {
    let held = document.text(id).map_err(FormatError::of_document)?;
    if held == value {
        return Ok(false);
    }
    let start = common(held.chars(), value.chars());
    let end = common(held[start..].chars().rev(), value[start..].chars().rev());
    let (old, new) = (&held[start..held.len() - end], &value[start..value.len() - end]);
    if old.len().saturating_mul(new.len()) <= COMPARED {
        document.update_text(id, value)
    } else {
        let encoding = document.text_encoding();
        let removed = isize::try_from(width(encoding, old)).unwrap_or(isize::MAX);
        document.splice_text(id, width(encoding, &held[..start]), removed, new)
    }
    .map_err(FormatError::of_document)?;
    Ok(true)
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
