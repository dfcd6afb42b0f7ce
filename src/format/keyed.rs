//! Ordered items with identity.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::HashMap,
    fmt,
    marker::PhantomData,
    ops::{Deref, Index, IndexMut},
    sync::Arc,
};

use rand::Rng;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de,
    ser::{SerializeMap, SerializeStruct},
};

use super::{
    position::{self, DIGITS},
    types,
};

/// Letters of a random key: 71 bits, so that two of a billion items have the same with a chance of one in five
/// thousand.
const KEY_LETTERS: usize = 16;

/// The name of an item in a [`KeyedList`]: it stays the same when the item is moved or changed.
///
/// Keys made by the list are random. An app may use keys of its own ([`KeyedList::insert_with_key`]); let them be
/// printable ASCII that starts with a letter or a digit, since Convex stores no other field names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey(Arc<str>);

impl ItemKey {
    /// A new key, different from all others.
    pub fn random() -> Self {
        let mut random = rand::rng();
        let letters = (0..KEY_LETTERS).map(|_| char::from(DIGITS[random.random_range(0..DIGITS.len())]));
        Self(letters.collect::<String>().into())
    }

    /// Whether a key looks as [`ItemKey::random`] makes them: letters and digits of that length, of which a word that
    /// an app has chosen would have neither a capital nor a digit.
    pub(super) fn is_random(key: &str) -> bool {
        let has = |is: fn(&u8) -> bool| key.bytes().any(|letter| is(&letter));
        key.len() == KEY_LETTERS
            && key.bytes().all(|letter| DIGITS.contains(&letter))
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_digit)
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for ItemKey {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ItemKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ItemKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ItemKey {
    fn from(key: &str) -> Self {
        Self(key.into())
    }
}

impl From<String> for ItemKey {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A string that is replaced whole.
impl Serialize for ItemKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ItemKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// A list whose items have an identity: an item that two apps move at once is there once, at one of the two places, and
/// an item that one app moves while another edits it keeps the edit. A `Vec` promises neither: there, a move is a
/// removal and an insertion.
///
/// ```
/// # use bevy_convex_replicate::format::KeyedList;
/// let mut list = KeyedList::from_iter(["bread", "milk"]);
/// let salt = list.insert(1, "salt");
/// assert_eq!(list.values().copied().collect::<Vec<_>>(), ["bread", "salt", "milk"]);
/// list.move_to(&salt, 0);
/// *list.get_mut(&salt).unwrap() = "sea salt";
/// assert_eq!(list[0], "sea salt");
/// assert_eq!(list.position_of(&salt), Some(0));
/// ```
///
/// # In the document
///
/// A map from each item's key to its position and its value:
///
/// ```json
/// { "k3uY0a91Lm2x": { "position": "a0", "value": "bread" }, "Zp7Rr1Q0dd4s": { "position": "a1", "value": "milk" } }
/// ```
///
/// `position` is a string that is replaced whole, so a move writes it and nothing else. `value` is the item as its type
/// writes it, and merges as that type does. Items stand in the order of (`position`, key). JavaScript reads them so:
///
/// ```js
/// const place = ([key, item]) => `${item.position} ${key}`;
/// const items = Object.entries(doc.list ?? {})
///   .filter(([, item]) => "value" in item)
///   .sort((a, b) => (place(a) < place(b) ? -1 : 1))
///   .map(([key, item]) => ({ key, ...item }));
/// ```
///
/// and writes with positions from the npm package `fractional-indexing`, whose scheme is the same:
/// `new ImmutableString(generateKeyBetween(before, after))`.
///
/// # Merging
///
/// - Items inserted by two apps at one place are both there. Everyone has them in the same order.
/// - Of two moves of one item one wins.
/// - An item that one app removes and another moves or edits is removed.
/// - An entry without a position stands last, and one without a value is passed over: no merge makes a list unreadable.
///
/// Items are compared by key, so a document that several apps make under one name wants the same keys from each of
/// them: take [`KeyedList::with_keys`] for default items.
#[derive(Clone)]
pub struct KeyedList<T> {
    /// Sorted by position and key.
    items: Vec<Item<T>>,
    places: HashMap<ItemKey, usize>,
}

#[derive(Clone)]
struct Item<T> {
    key: ItemKey,
    /// `None` for one that was written without: it stands last.
    position: Option<Box<str>>,
    value: T,
}

impl<T> Item<T> {
    /// Its position as it sorts. No position that is made starts with this letter.
    fn position(&self) -> &str {
        self.position.as_deref().unwrap_or("\u{10ffff}")
    }
}

impl<T> KeyedList<T> {
    /// An empty list.
    pub fn new() -> Self {
        Self { items: Vec::new(), places: HashMap::new() }
    }

    /// A list of items with keys that the app knows, in this order. Every app that makes it so makes the same.
    ///
    /// ```
    /// # use bevy_convex_replicate::format::KeyedList;
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

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether an item has this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// The item with this key.
    pub fn get(&self, key: &str) -> Option<&T> {
        self.position_of(key).map(|index| &self.items[index].value)
    }

    /// The item with this key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        self.position_of(key).map(|index| &mut self.items[index].value)
    }

    /// The item at a place, with its key.
    pub fn get_index(&self, index: usize) -> Option<(&ItemKey, &T)> {
        self.items.get(index).map(|item| (&item.key, &item.value))
    }

    /// Where the item with this key stands.
    pub fn position_of(&self, key: &str) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// Appends an item.
    pub fn push(&mut self, item: T) -> ItemKey {
        self.insert(self.len(), item)
    }

    /// Inserts an item so that it stands at `index`, or last if that is beyond the end.
    pub fn insert(&mut self, index: usize, item: T) -> ItemKey {
        let key = ItemKey::random();
        self.place(index, key.clone(), item);
        key
    }

    /// The same with a key that the app knows. The item that had this key is replaced, and returned.
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

    /// Moves the item with this key so that it stands at `index`, or last if that is beyond the end. Whether there is
    /// such an item.
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

    /// Removes the items for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&ItemKey, &mut T) -> bool) {
        self.items.retain_mut(|item| keep(&item.key, &mut item.value));
        self.places.clear();
        self.count_from(0);
    }

    /// Sorts the items; equal ones stay in their order. As many as can keep their position, so that little is written.
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

    /// The items in order, with their keys, to be changed.
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

    /// The items in order, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> + ExactSizeIterator {
        self.items.iter_mut().map(|item| &mut item.value)
    }

    /// Puts an item that is not in the list at a place.
    fn place(&mut self, index: usize, key: ItemKey, value: T) {
        let index = index.min(self.len());
        let position = self.position_at(index, &key);
        self.items.insert(index, Item { key, position: Some(position), value });
        self.count_from(index);
    }

    /// A position between the items at `index - 1` and `index`, which get others if there is no room between them.
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
        // Two apps that insert into the same gap find the same position in it. What the key adds tells theirs apart, so
        // that a third item fits between the two later. The last letter is not `0`, with which no position ends.
        // FNV-1a, which is the same in every build: lists made with the same keys are the same.
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

    /// Notes where the items from `index` on stand.
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

/// Which of these numbers belong to the longest ascending row among them.
fn longest_ascent(numbers: &[usize]) -> Vec<bool> {
    // The last of the best row of each length, and before each the one before it.
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

/// The items of a [`KeyedList`] in order, with their keys.
pub struct Iter<'a, T>(std::slice::Iter<'a, Item<T>>);

/// The items of a [`KeyedList`] in order, with their keys, to be changed.
pub struct IterMut<'a, T>(std::slice::IterMut<'a, Item<T>>);

/// The items of a [`KeyedList`] in order, with their keys, taken out of it.
pub struct IntoIter<T>(std::vec::IntoIter<Item<T>>);

macro_rules! iterates {
    ([$($generics:tt)*] $iter:ty => $item:ty, $of:expr) => {
        impl<$($generics)*> Iterator for $iter {
            type Item = $item;

            fn next(&mut self) -> Option<$item> {
                self.0.next().map($of)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<$($generics)*> DoubleEndedIterator for $iter {
            fn next_back(&mut self) -> Option<$item> {
                self.0.next_back().map($of)
            }
        }

        impl<$($generics)*> ExactSizeIterator for $iter {}
    };
}

iterates!(['a, T] Iter<'a, T> => (&'a ItemKey, &'a T), |item| (&item.key, &item.value));
iterates!(['a, T] IterMut<'a, T> => (&'a ItemKey, &'a mut T), |item| (&item.key, &mut item.value));
iterates!([T] IntoIter<T> => (ItemKey, T), |item| (item.key, item.value));

impl<'a, T> IntoIterator for &'a KeyedList<T> {
    type Item = (&'a ItemKey, &'a T);
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut KeyedList<T> {
    type Item = (&'a ItemKey, &'a mut T);
    type IntoIter = IterMut<'a, T>;

    fn into_iter(self) -> IterMut<'a, T> {
        self.iter_mut()
    }
}

impl<T> IntoIterator for KeyedList<T> {
    type Item = (ItemKey, T);
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self.items.into_iter())
    }
}

/// Each item gets a new key.
impl<T> FromIterator<T> for KeyedList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::new();
        list.extend(items);
        list
    }
}

/// Appends; each item gets a new key.
impl<T> Extend<T> for KeyedList<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        for item in items {
            self.push(item);
        }
    }
}

/// # Panics
///
/// If there is no item at the index, as that of a `Vec`. [`KeyedList::get_index`] does not.
impl<T> Index<usize> for KeyedList<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.items[index].value
    }
}

/// # Panics
///
/// If there is no item at the index, as that of a `Vec`.
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

/// Equal are lists with equal items under the same keys in the same order.
impl<T: PartialEq> PartialEq for KeyedList<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl<T: Eq> Eq for KeyedList<T> {}

impl<T: Serialize> Serialize for KeyedList<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for item in &self.items {
            map.serialize_entry(item.key.as_str(), item)?;
        }
        map.end()
    }
}

impl<T: Serialize> Serialize for Item<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_struct(types::ITEM, 2)?;
        match &self.position {
            Some(position) => item.serialize_field("position", &Position(position))?,
            None => item.skip_field("position")?,
        }
        item.serialize_field("value", &self.value)?;
        item.end()
    }
}

/// A position as it is written: a string that is replaced whole.
struct Position<'a>(&'a str);

impl Serialize for Position<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// An item as it is read.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Entry<T> {
    #[serde(default)]
    position: Option<Box<str>>,
    #[serde(default, deserialize_with = "present")]
    value: Option<T>,
}

/// A null is a value, unlike none.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for KeyedList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for ListVisitor<T> {
    type Value = KeyedList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of items with their positions")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<KeyedList<T>, A::Error> {
        let mut items: HashMap<ItemKey, Item<T>> = HashMap::new();
        while let Some(key) = map.next_key::<ItemKey>()? {
            let entry: Entry<T> = map.next_value()?;
            if let Some(value) = entry.value {
                items.insert(key.clone(), Item { key, position: entry.position, value });
            }
        }
        let mut items: Vec<Item<T>> = items.into_values().collect();
        items.sort_unstable_by(|a, b| (a.position(), &a.key).cmp(&(b.position(), &b.key)));
        let mut list = KeyedList { items, places: HashMap::new() };
        list.count_from(0);
        Ok(list)
    }
}
