//! A list whose items have an identity.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fmt,
    ops::{Index, IndexMut},
};

use super::position::{self, DIGITS};
pub use item_key::ItemKey;
use iter::{Iter, IterMut};

mod item_key;
mod iter;
mod serde;

/// A list whose items have an identity. If two apps move an item at once, the list has the item once, at one of the two
/// places. If one app moves an item while another edits it, the item keeps the edit. A `Vec` guarantees neither,
/// because a move in a `Vec` is a removal and an insertion.
///
/// ```
/// # use bevy_convex_replicate::KeyedList;
/// let mut list = KeyedList::from_iter(["bread", "milk"]);
/// let salt = list.insert(1, "salt");
/// assert_eq!(list.values().copied().collect::<Vec<_>>(), ["bread", "salt", "milk"]);
/// list.move_to(&salt, 0);
/// *list.get_mut(&salt).unwrap() = "sea salt";
/// assert_eq!(list[0], "sea salt");
/// assert_eq!(list.position_of(&salt), Some(0));
/// ```
///
/// # Format in the document
///
/// A map from each item's key to its position and its value:
///
/// ```json
/// { "k3uY0a91Lm2x": { "position": "a0", "value": "bread" }, "Zp7Rr1Q0dd4s": { "position": "a1", "value": "milk" } }
/// ```
///
/// `position` is a string that is replaced as a whole, so a move writes only `position`. `value` is the item as its
/// type writes it, and it merges as that type does. Items are sorted by (`position`, key). JavaScript reads them like
/// this:
///
/// ```js
/// const place = ([key, item]) => `${item.position} ${key}`;
/// const items = Object.entries(doc.list ?? {})
///   .filter(([, item]) => "value" in item)
///   .sort((a, b) => (place(a) < place(b) ? -1 : 1))
///   .map(([key, item]) => ({ key, ...item }));
/// ```
///
/// JavaScript makes positions with the npm package `fractional-indexing`, which uses the same scheme: `new
/// ImmutableString(generateKeyBetween(before, after))`.
///
/// # Merging
///
/// - If two apps insert items at one place, the list has both, in the same order in every app.
/// - If two apps move one item, one of the two moves wins.
/// - If one app removes an item and another moves or edits it, the item is removed.
/// - An item without a position is last. An entry without a value is skipped. So no merge makes a list unreadable.
///
/// Items are matched by key. If several apps make the same document with default items, all of them must use the same
/// keys: use [`KeyedList::with_keys`].
#[derive(Clone)]
#[cfg_attr(feature = "bevy", derive(bevy::reflect::Reflect))]
#[cfg_attr(feature = "bevy", reflect(opaque, Clone, where T: Clone + Send + Sync))]
pub struct KeyedList<T> {
    /// Sorted by (position, key).
    items: Vec<Item<T>>,
    places: HashMap<ItemKey, usize>,
}

#[derive(Clone)]
struct Item<T> {
    key: ItemKey,
    /// `None` if the document has no position for the item. Such an item is last.
    position: Option<Box<str>>,
    value: T,
}

impl<T> Item<T> {
    /// The position used for sorting. The letter for a missing position sorts after every position.
    fn position(&self) -> &str {
        self.position.as_deref().unwrap_or("\u{10ffff}")
    }
}

impl<T> KeyedList<T> {
    /// An empty list.
    pub fn new() -> Self {
        Self { items: Vec::new(), places: HashMap::new() }
    }

    /// A list of items with keys that the app chooses, in this order. Every app that calls this with the same items
    /// makes the same list.
    ///
    /// ```
    /// # use bevy_convex_replicate::KeyedList;
    /// let columns = KeyedList::with_keys([("todo", "To do"), ("done", "Done")]);
    /// assert_eq!(columns.get("done"), Some(&"Done"));
    /// ```
    pub fn with_keys<K: Into<ItemKey>>(items: impl IntoIterator<Item = (K, T)>) -> Self {
        let mut list = Self::new();
        for (key, value) in items {
            list.insert_with_key(list.len(), key.into(), value);
        }
        list
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether the list has an item with this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// The item with this key.
    pub fn get(&self, key: &str) -> Option<&T> {
        self.position_of(key).map(|index| &self.items[index].value)
    }

    /// The item with this key, mutable.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        self.position_of(key).map(|index| &mut self.items[index].value)
    }

    /// The item at an index, with its key.
    pub fn get_index(&self, index: usize) -> Option<(&ItemKey, &T)> {
        self.items.get(index).map(|item| (&item.key, &item.value))
    }

    /// The index of the item with this key.
    pub fn position_of(&self, key: &str) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// Appends an item.
    pub fn push(&mut self, item: T) -> ItemKey {
        self.insert(self.len(), item)
    }

    /// Inserts an item at `index`, or at the end if `index` is beyond it.
    pub fn insert(&mut self, index: usize, item: T) -> ItemKey {
        let key = ItemKey::random();
        self.place(index, key.clone(), item);
        key
    }

    /// Inserts an item with a key that the app chooses. If the list has an item with this key, it is replaced and
    /// returned.
    pub fn insert_with_key(&mut self, index: usize, key: ItemKey, item: T) -> Option<T> {
        let replaced = self.remove(&key);
        self.place(index, key, item);
        replaced
    }

    /// Removes the item with this key.
    pub fn remove(&mut self, key: &str) -> Option<T> {
        let index = self.position_of(key)?;
        Some(self.take(index).value)
    }

    /// Moves the item with this key to `index`, or to the end if `index` is beyond it. Returns whether the list has the
    /// item.
    pub fn move_to(&mut self, key: &str, index: usize) -> bool {
        let Some(from) = self.position_of(key) else { return false };
        if from != index.min(self.len() - 1) {
            let Item { key, value, .. } = self.take(from);
            self.place(index, key, value);
        }
        true
    }

    /// Removes all items.
    pub fn clear(&mut self) {
        self.items.clear();
        self.places.clear();
    }

    /// Removes the items for which `keep` returns false.
    pub fn retain(&mut self, mut keep: impl FnMut(&ItemKey, &mut T) -> bool) {
        self.items.retain_mut(|item| keep(&item.key, &mut item.value));
        self.places.clear();
        self.count_from(0);
    }

    /// Sorts the items. The sort is stable. As many items as possible keep their position, so that few positions are
    /// written.
    pub fn sort_by(&mut self, mut compare: impl FnMut(&T, &T) -> Ordering) {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| compare(&self.items[*a].value, &self.items[*b].value));
        let stays = longest_ascent(&order);
        let keys: Vec<ItemKey> = order.iter().map(|index| self.items[*index].key.clone()).collect();
        let mut moved = HashMap::new();
        for (key, _) in keys.iter().zip(&stays).filter(|(_, stays)| !**stays) {
            if let Some(index) = self.position_of(key) {
                moved.insert(key, self.take(index).value);
            }
        }
        for (index, key) in keys.iter().enumerate() {
            if let Some(value) = moved.remove(key) {
                self.place(index, key.clone(), value);
            }
        }
    }

    /// The items in order, with their keys.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self.items.iter())
    }

    /// The items in order, with their keys; the items are mutable.
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut(self.items.iter_mut())
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &ItemKey> + ExactSizeIterator {
        self.items.iter().map(|item| &item.key)
    }

    /// The items in order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.items.iter().map(|item| &item.value)
    }

    /// The items in order, mutable.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> + ExactSizeIterator {
        self.items.iter_mut().map(|item| &mut item.value)
    }

    /// Inserts an item whose key is not in the list.
    fn place(&mut self, index: usize, key: ItemKey, value: T) {
        let index = index.min(self.len());
        let position = self.position_at(index, &key);
        self.items.insert(index, Item { key, position: Some(position), value });
        self.count_from(index);
    }

    /// A position between the items at `index - 1` and `index`. If there is no position between theirs, this gives the
    /// neighbours new positions.
    fn position_at(&mut self, index: usize, key: &ItemKey) -> Box<str> {
        let low = index.checked_sub(1).map(|index| self.items[index].position());
        let between = position::key_between(low, self.items.get(index).map(Item::position));
        let position = between.filter(|position| position.len() <= position::KEY_BYTES).unwrap_or_else(|| {
            let positions: Vec<&str> = self.items.iter().map(Item::position).collect();
            let placement = position::place(&positions, index);
            for (index, position) in placement.moved {
                self.items[index].position = Some(position.into());
            }
            placement.key
        });
        // Two apps that insert into the same gap compute the same position. Digits from a hash of the key make the two
        // positions different, so that a third item can be put between them later. The last digit is never `0`, because
        // no position ends in `0`. The hash is FNV-1a, which is the same in every build, so lists made with the same
        // keys are equal.
        let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let hash = hash as usize % (62 * 61);
        let apart = format!("{position}{}{}", char::from(DIGITS[hash / 61]), char::from(DIGITS[1 + hash % 61]));
        match self.items.get(index) {
            Some(next) if apart.as_str() >= next.position() => position.into(),
            _ => apart.into(),
        }
    }

    fn take(&mut self, index: usize) -> Item<T> {
        let item = self.items.remove(index);
        self.places.remove(&item.key);
        self.count_from(index);
        item
    }

    /// Updates the stored indices of the items from `index` on.
    fn count_from(&mut self, index: usize) {
        for (index, item) in self.items.iter().enumerate().skip(index) {
            match self.places.get_mut(&item.key) {
                Some(place) => *place = index,
                None => {
                    self.places.insert(item.key.clone(), index);
                }
            }
        }
    }
}

/// Marks the numbers that belong to the longest increasing subsequence.
fn longest_ascent(numbers: &[usize]) -> Vec<bool> {
    // For each length, the end of the best subsequence of that length; for each number, its predecessor in the
    // subsequence.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![None; numbers.len()];
    for (index, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| numbers[*end] < *number);
        before[index] = length.checked_sub(1).map(|length| ends[length]);
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut belongs = vec![false; numbers.len()];
    let mut next = ends.last().copied();
    while let Some(index) = next {
        belongs[index] = true;
        next = before[index];
    }
    belongs
}

/// Each item gets a new key.
impl<T> FromIterator<T> for KeyedList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::new();
        list.extend(items);
        list
    }
}

/// Appends the items. Each gets a new key.
impl<T> Extend<T> for KeyedList<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        for item in items {
            self.push(item);
        }
    }
}

/// # Panics
///
/// If there is no item at the index, as `Vec` does. [`KeyedList::get_index`] does not panic.
impl<T> Index<usize> for KeyedList<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.items[index].value
    }
}

/// # Panics
///
/// If there is no item at the index, as `Vec` does.
impl<T> IndexMut<usize> for KeyedList<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.items[index].value
    }
}

impl<T> Default for KeyedList<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for KeyedList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

/// Lists are equal if they have equal items under the same keys in the same order.
impl<T: PartialEq> PartialEq for KeyedList<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl<T: Eq> Eq for KeyedList<T> {}
