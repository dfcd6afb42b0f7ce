//! Iterators over the items.

use super::{Item, ItemKey, KeyedList};

/// The items of a [`KeyedList`] in order, with their keys.
pub struct Iter<'a, T>(pub(super) std::slice::Iter<'a, Item<T>>);

/// The items of a [`KeyedList`] in order, with their keys; the items are mutable.
pub struct IterMut<'a, T>(pub(super) std::slice::IterMut<'a, Item<T>>);

/// The items of a [`KeyedList`] in order, with their keys, moved out of the list.
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
