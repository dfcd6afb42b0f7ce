//! Positions of items in an order: a fractional index, as [`KeyedList`](super::KeyedList) uses it. An app that orders
//! whole documents keeps such a position in a `Scalar<String>` field.
//!
//! A position is a short string (the functions here call it a key, as the npm package `fractional-indexing` does).
//! Items are sorted by their positions, and items with equal positions by another unique string, such as their id.
//! Moving an item writes only a new position between those of its new neighbours, so two apps that move different items
//! at the same time do not undo each other's moves.
//!
//! A position has an integer part and a fraction, both in base 62. The first letter gives the number of digits of the
//! integer (`a` one, `b` two, .. for positive numbers; `Z` one, `Y` two, .. for negative ones). So appending ten
//! thousand items counts `a0`, `a1`, .. `b00` instead of halving a gap ten thousand times. The fraction never ends in
//! `0`, so each position has exactly one spelling. The scheme is explained at
//! <https://observablehq.com/@dgreensp/implementing-fractional-indexing>. The npm package makes the same positions, so
//! web apps and Bevy apps can order the same items. The crate `fractional_index` makes other ones (bytes, written in
//! hexadecimal), so this is code of our own.

/// The digits of positions in ascending order.
pub(super) const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The largest length of a new key. If the next key in a gap would be longer, its neighbours get new keys too, which
/// widens the gap. A gap reaches this length after about 200 insertions at one place.
pub const KEY_BYTES: usize = 40;

/// A key that sorts after `low` and before `high`. `None` stands for the end of the list.
///
/// Returns `None` if there is no such key: `low` or `high` is not a valid key, or they are not in order.
pub fn key_between(low: Option<&str>, high: Option<&str>) -> Option<String> {
    if low.is_some_and(|key| !is_key(key)) || high.is_some_and(|key| !is_key(key)) {
        return None;
    }
    match (low, high) {
        (None, None) => Some("a0".to_owned()),
        (None, Some(high)) => before(high),
        (Some(low), None) => after(low),
        (Some(low), Some(high)) if low >= high => None,
        (Some(low), Some(high)) => {
            let (integer, fraction) = split(low)?;
            let (high_integer, high_fraction) = split(high)?;
            if integer == high_integer {
                return Some(format!("{integer}{}", midpoint(fraction, Some(high_fraction))));
            }
            match next(integer) {
                Some(next) if next.as_str() < high => Some(next),
                _ => Some(format!("{integer}{}", midpoint(fraction, None))),
            }
        }
    }
}

/// `count` keys in order between `low` and `high`; see [`key_between`].
pub fn keys_between(low: Option<&str>, high: Option<&str>, count: usize) -> Option<Vec<String>> {
    match (count, low, high) {
        (0, ..) => Some(Vec::new()),
        (1, ..) => Some(vec![key_between(low, high)?]),
        // Towards an open end, keys are counted upwards or downwards, which keeps them as short as possible.
        (_, _, None) => {
            let first = key_between(low, None)?;
            let mut keys = Vec::with_capacity(count);
            keys.push(first);
            for _ in 1..count {
                keys.push(key_between(keys.last().map(String::as_str), None)?);
            }
            Some(keys)
        }
        (_, None, Some(_)) => {
            let mut keys = vec![key_between(None, high)?];
            for _ in 1..count {
                keys.push(key_between(None, keys.last().map(String::as_str))?);
            }
            keys.reverse();
            Some(keys)
        }
        (_, Some(_), Some(_)) => {
            let middle = key_between(low, high)?;
            let mut keys = keys_between(low, Some(&middle), count / 2)?;
            let upper = keys_between(Some(&middle), high, count - count / 2 - 1)?;
            keys.push(middle);
            keys.extend(upper);
            Some(keys)
        }
    }
}

/// The result of [`place`].
#[derive(Debug, PartialEq, Eq)]
pub struct Placement {
    /// The key of the new item.
    pub key: String,
    /// Siblings that need a new key, by index, because their keys leave no gap: they are equal (two apps put them at
    /// the same place), too long, or not valid. Nearly always empty.
    pub moved: Vec<(usize, String)>,
}

/// The key for a new item at `index` among siblings with these keys, in the order in which they are shown.
pub fn place(siblings: &[&str], index: usize) -> Placement {
    let index = index.min(siblings.len());
    // The range of siblings that get new keys grows from here until the keys fit into the gap around it.
    let (mut first, mut end) = (index, index);
    loop {
        while first > 0 && !is_key(siblings[first - 1]) {
            first -= 1;
        }
        let low = first.checked_sub(1).map(|i| siblings[i]);
        while end < siblings.len() && !(is_key(siblings[end]) && low.is_none_or(|low| siblings[end] > low)) {
            end += 1;
        }
        let high = siblings.get(end).copied();
        let keys = keys_between(low, high, end - first + 1);
        let whole = first == 0 && end == siblings.len();
        match keys {
            Some(mut keys) if whole || keys.iter().all(|key| key.len() <= KEY_BYTES) => {
                let key = keys.remove(index - first);
                let moved = (first..end).zip(keys).filter(|(i, key)| siblings[*i] != *key).collect();
                return Placement { key, moved };
            }
            _ if whole => return Placement { key: "a0".to_owned(), moved: Vec::new() },
            _ => {
                let width = (end - first + 1).max(4);
                first = first.saturating_sub(width);
                end = (end + width).min(siblings.len());
            }
        }
    }
}

fn digit(byte: u8) -> Option<usize> {
    DIGITS.iter().position(|digit| *digit == byte)
}

/// The length of the integer part of a key in bytes, including its first letter.
fn integer_length(key: &str) -> Option<usize> {
    match key.bytes().next()? {
        first @ b'a'..=b'z' => Some(usize::from(first - b'a') + 2),
        first @ b'A'..=b'Z' => Some(usize::from(b'Z' - first) + 2),
        _ => None,
    }
}

fn split(key: &str) -> Option<(&str, &str)> {
    key.split_at_checked(integer_length(key)?)
}

/// Nothing sorts before the smallest integer, so it is not used as a key without a fraction.
fn is_smallest(integer: &str) -> bool {
    integer.starts_with('A') && integer[1..].bytes().all(|digit| digit == b'0')
}

fn is_key(key: &str) -> bool {
    key.bytes().all(|byte| digit(byte).is_some())
        && split(key).is_some_and(|(integer, fraction)| {
            !(fraction.ends_with('0') || is_smallest(integer) && fraction.is_empty())
        })
}

fn after(low: &str) -> Option<String> {
    let (integer, fraction) = split(low)?;
    Some(match next(integer) {
        Some(next) => next,
        None => format!("{integer}{}", midpoint(fraction, None)),
    })
}

fn before(high: &str) -> Option<String> {
    let (integer, fraction) = split(high)?;
    if !fraction.is_empty() && !is_smallest(integer) {
        return Some(integer.to_owned());
    }
    match previous(integer) {
        Some(previous) if !is_smallest(&previous) => Some(previous),
        Some(previous) => Some(format!("{previous}{}", midpoint("", None))),
        None => Some(format!("{integer}{}", midpoint("", Some(fraction)))),
    }
}

/// The next integer; `None` after the largest one.
fn next(integer: &str) -> Option<String> {
    let mut bytes = integer.as_bytes().to_vec();
    for place in (1..bytes.len()).rev() {
        let value = digit(bytes[place])?;
        if let Some(next) = DIGITS.get(value + 1) {
            bytes[place] = *next;
            return String::from_utf8(bytes).ok();
        }
        bytes[place] = b'0';
    }
    Some(match bytes[0] {
        b'z' => return None,
        b'Z' => "a0".to_owned(),
        first => widened(first + 1, b'0'),
    })
}

/// The previous integer; `None` before the smallest one.
fn previous(integer: &str) -> Option<String> {
    let mut bytes = integer.as_bytes().to_vec();
    for place in (1..bytes.len()).rev() {
        let value = digit(bytes[place])?;
        if value > 0 {
            bytes[place] = DIGITS[value - 1];
            return String::from_utf8(bytes).ok();
        }
        bytes[place] = b'z';
    }
    Some(match bytes[0] {
        b'A' => return None,
        b'a' => "Zz".to_owned(),
        first => widened(first - 1, b'z'),
    })
}

/// The integer that starts with `first` and whose digits are all `fill`.
fn widened(first: u8, fill: u8) -> String {
    let first = char::from(first);
    let digits = integer_length(first.encode_utf8(&mut [0; 4])).unwrap_or(2) - 1;
    std::iter::once(first).chain(std::iter::repeat_n(char::from(fill), digits)).collect()
}

/// A short fraction near the middle between two. `low` is less than `high`; `None` stands for one.
fn midpoint(low: &str, high: Option<&str>) -> String {
    if let Some(high) = high {
        // `low` continues with zeros.
        let same = high.bytes().zip(low.bytes().chain(std::iter::repeat(b'0'))).take_while(|(h, l)| h == l).count();
        if same > 0 {
            let low = low.get(same..).unwrap_or_default();
            return format!("{}{}", &high[..same], midpoint(low, Some(&high[same..])));
        }
    }
    let low_digit = low.bytes().next().and_then(digit).unwrap_or(0);
    let high_digit = high.and_then(|high| high.bytes().next()).and_then(digit).unwrap_or(DIGITS.len());
    if high_digit > low_digit + 1 {
        return char::from(DIGITS[(low_digit + high_digit).div_ceil(2)]).to_string();
    }
    match high {
        Some(high) if high.len() > 1 => high[..1].to_owned(),
        _ => format!("{}{}", char::from(DIGITS[low_digit]), midpoint(low.get(1..).unwrap_or_default(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(keys: &mut Vec<String>, index: usize) {
        let placement = place(&keys.iter().map(String::as_str).collect::<Vec<_>>(), index);
        for (i, key) in placement.moved {
            keys[i] = key;
        }
        keys.insert(index, placement.key);
    }

    fn strictly_sorted(keys: &[String]) -> bool {
        keys.windows(2).all(|pair| pair[0] < pair[1])
    }

    #[test]
    fn keys_are_those_of_the_npm_package() {
        let between = |low, high| key_between(low, high).expect("there is room");
        assert_eq!(between(None, None), "a0");
        assert_eq!(between(Some("a0"), None), "a1");
        assert_eq!(between(Some("az"), None), "b00");
        assert_eq!(between(None, Some("a0")), "Zz");
        assert_eq!(between(None, Some("Z0")), "Yzz");
        assert_eq!(between(Some("a0"), Some("a1")), "a0V");
        assert_eq!(between(Some("a0"), Some("a2")), "a1");
        assert_eq!(between(Some("a0V"), Some("a1")), "a0l");
        assert_eq!(between(Some("Zz"), Some("a0")), "ZzV");
    }

    #[test]
    fn an_invalid_neighbour_gives_no_key() {
        for bad in ["", "a", "b0", "a00", "a0 ", "ä0", "!", "A00000000000000000000000000"] {
            assert_eq!(key_between(Some(bad), None), None, "{bad:?}");
            assert_eq!(key_between(None, Some(bad)), None, "{bad:?}");
        }
        assert_eq!(key_between(Some("a1"), Some("a1")), None);
        assert_eq!(key_between(Some("a2"), Some("a1")), None);
    }

    #[test]
    fn keys_beyond_the_smallest_and_largest_integer_still_exist() {
        let mut key = "A00000000000000000000000001".to_owned();
        for _ in 0..50 {
            let lower = key_between(None, Some(&key)).expect("there is room below");
            assert!(lower < key && is_key(&lower), "{lower} {key}");
            key = lower;
        }
        let mut key = format!("z{}", "z".repeat(26));
        for _ in 0..50 {
            let higher = key_between(Some(&key), None).expect("there is room above");
            assert!(higher > key && is_key(&higher), "{key} {higher}");
            key = higher;
        }
    }

    #[test]
    fn ten_thousand_appended_or_prepended_items_have_short_keys() {
        for at_end in [true, false] {
            let mut key = "a0".to_owned();
            for _ in 0..10_000 {
                let end = Some(key.as_str());
                let new = if at_end { key_between(end, None) } else { key_between(None, end) }.expect("there is room");
                assert_eq!(new > key, at_end);
                key = new;
            }
            assert!(key.len() <= 4, "{key}");
        }
    }

    #[test]
    fn splitting_one_gap_repeatedly_keeps_keys_short() {
        for offset in [1, 2] {
            let mut keys = Vec::new();
            for count in 0..2_000_usize {
                put(&mut keys, count.min(offset));
            }
            assert!(strictly_sorted(&keys));
            assert!(keys.iter().all(|key| key.len() <= KEY_BYTES));
        }
    }

    #[test]
    fn items_with_equal_keys_get_different_keys() {
        let placement = place(&["a0", "a1", "a1", "a1", "a2"], 2);
        assert_eq!(placement.moved.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [2, 3]);
        let keys = ["a1", &placement.key, &placement.moved[0].1, &placement.moved[1].1, "a2"];
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
    }

    proptest! {
        #[test]
        fn a_new_key_sorts_between_its_neighbours(inserts in prop::collection::vec(any::<prop::sample::Index>(), 1..300)) {
            let mut keys: Vec<String> = Vec::new();
            for insert in inserts {
                let index = insert.index(keys.len() + 1);
                let low = index.checked_sub(1).map(|i| keys[i].as_str());
                let high = keys.get(index).map(String::as_str);
                let key = key_between(low, high).expect("there is room");
                prop_assert!(is_key(&key));
                prop_assert!(low.is_none_or(|low| low < key.as_str()));
                prop_assert!(high.is_none_or(|high| key.as_str() < high));
                keys.insert(index, key);
            }
            prop_assert!(strictly_sorted(&keys));
        }

        #[test]
        fn several_new_keys_are_in_order(low in "[a-c][0-9]{3}[1-9]", count in 0_usize..200) {
            let high = key_between(Some(&low), None);
            for high in [high.as_deref(), None] {
                let keys = keys_between(Some(&low), high, count).expect("there is room");
                prop_assert_eq!(keys.len(), count);
                prop_assert!(strictly_sorted(&keys));
                prop_assert!(keys.iter().all(|key| low < *key && high.is_none_or(|high| key.as_str() < high)));
            }
        }

        #[test]
        fn an_item_can_be_placed_among_any_siblings(
            mut siblings in prop::collection::vec(prop_oneof!["[aZb][0-2]{1,3}", "a[01]V?", ".{0,4}"], 0..30),
            at in any::<prop::sample::Index>(),
        ) {
            siblings.sort();
            let index = at.index(siblings.len() + 1);
            let borrowed: Vec<&str> = siblings.iter().map(String::as_str).collect();
            let placement = place(&borrowed, index);
            let mut after = siblings.clone();
            for (i, key) in &placement.moved {
                after[*i] = key.clone();
            }
            after.insert(index, placement.key.clone());
            prop_assert!(after.windows(2).all(|pair| pair[0] <= pair[1]), "{after:?}");
            // The key alone orders the new item between its neighbours.
            prop_assert!(index == 0 || after[index - 1] < after[index], "{after:?}");
            prop_assert!(index + 1 == after.len() || after[index] < after[index + 1], "{after:?}");
        }
    }
}
