//! Working memory that is used again: no sample allocates what the one before it has left.

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

/// Numbers for which each thread keeps memory.
pub(crate) trait Number: Copy + Default + 'static {
    /// Vectors that nobody uses.
    fn free() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>>;
}

macro_rules! number {
    ($($number:ty),+) => {
        $(impl Number for $number {
            fn free() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>> {
                thread_local! {
                    static FREE: RefCell<Vec<Vec<$number>>> = const { RefCell::new(Vec::new()) };
                }
                &FREE
            }
        })+
    };
}

number!(u8, u16, u32, i32, f32, (usize, f32, f32));

/// Numbers in memory that goes back to the thread when they are dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scratch<T: Number>(Vec<T>);

impl<T: Number> Scratch<T> {
    /// So many of the same number.
    pub(crate) fn of(value: T, count: usize) -> Self {
        let mut numbers = Self::empty();
        numbers.0.resize(count, value);
        numbers
    }

    /// So many numbers to be overwritten: what they are has no meaning.
    pub(crate) fn any(count: usize) -> Self {
        let mut numbers = Self(T::free().with_borrow_mut(Vec::pop).unwrap_or_default());
        numbers.0.resize(count, T::default());
        numbers
    }

    fn empty() -> Self {
        let mut numbers = T::free().with_borrow_mut(Vec::pop).unwrap_or_default();
        numbers.clear();
        Self(numbers)
    }
}

impl<T: Number> FromIterator<T> for Scratch<T> {
    fn from_iter<I: IntoIterator<Item = T>>(numbers: I) -> Self {
        let mut collected = Self::empty();
        collected.extend(numbers);
        collected
    }
}

impl<T: Number> Extend<T> for Scratch<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, numbers: I) {
        self.0.extend(numbers);
    }
}

impl<T: Number> Clone for Scratch<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::empty();
        copy.0.extend_from_slice(self);
        copy
    }
}

impl<T: Number> Drop for Scratch<T> {
    fn drop(&mut self) {
        // At the end of a thread there may be nobody left to keep it.
        let _ = T::free().try_with(|free| free.borrow_mut().push(mem::take(&mut self.0)));
    }
}

impl<T: Number> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Number> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_holds_what_is_asked_for() {
        let first = Scratch::of(7u16, 100);
        let at = first.as_ptr();
        drop(first);
        let second = Scratch::of(3u16, 40);
        assert_eq!((second.as_ptr(), &second[..]), (at, &[3; 40][..]));
        let copy = second.clone();
        assert_ne!(copy.as_ptr(), at);
        assert_eq!(copy[..], second[..]);
        drop(second);
        assert_eq!((0..5u16).collect::<Scratch<_>>()[..], [0, 1, 2, 3, 4]);
        assert_eq!(
            [Scratch::<u16>::any(3).len(), Scratch::<u16>::any(300).len()],
            [3, 300]
        );
    }
}
