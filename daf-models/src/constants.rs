//! Cache of constant tensors, which are made once for each size: a GPU has to wait for each copy from the host's memory.

use std::cell::RefCell;

use tch::Tensor;

/// Number of tensors that are kept. Sizes seldom change; where they always do, keeping more gains nothing.
const KEPT: usize = 16;

/// Tensors by the keys that they are made from.
#[derive(Debug)]
pub(crate) struct Constants<Key>(RefCell<Vec<(Key, Tensor)>>);

impl<Key: PartialEq> Constants<Key> {
    /// Empty record.
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// The tensor of `key`, which `make` makes if it is not there.
    pub(crate) fn get(&self, key: Key, make: impl FnOnce(&Key) -> Tensor) -> Tensor {
        let mut known = self.0.borrow_mut();
        if let Some((_, tensor)) = known.iter().find(|(of, _)| *of == key) {
            return tensor.shallow_clone();
        }
        let tensor = make(&key);
        known.truncate(KEPT - 1);
        known.insert(0, (key, tensor.shallow_clone()));
        tensor
    }
}
