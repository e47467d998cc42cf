/// Sort key of a finite score, in descending order: a higher score has a smaller key, equal scores (-0 and 0
/// too) have the same key.
#[inline]
pub(crate) fn key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 {
        bits
    } else {
        !bits & (u32::MAX >> 1)
    }
}

/// The score of a key; -0 comes back as 0.
#[inline]
pub(crate) fn score(key: u32) -> f32 {
    if key >> 31 == 1 {
        f32::from_bits(key)
    } else {
        f32::from_bits(!key & (u32::MAX >> 1))
    }
}

/// An anomalous pixel: its key, and in the low half the area of its region, which is all PRO needs to know of
/// the region. One sort orders both.
#[inline]
pub(crate) fn pixel(key: u32, area: u32) -> u64 {
    u64::from(key) << 32 | u64::from(area)
}

/// Items ordered by a key.
pub(crate) trait Keyed: Copy + Default + Send + Sync {
    fn key(self) -> u32;
}

impl Keyed for u32 {
    #[inline]
    fn key(self) -> u32 {
        self
    }
}

/// An anomalous [`pixel`].
impl Keyed for u64 {
    #[inline]
    fn key(self) -> u32 {
        (self >> 32) as u32
    }
}

/// The share of its region that a [`pixel`] covers.
#[inline]
pub(crate) fn share(pixel: u64) -> f64 {
    1.0 / f64::from(pixel as u32)
}

/// Number of elements of a sorted slice whose key is smaller.
#[inline]
pub(crate) fn below<T: Keyed>(sorted: &[T], key: u32) -> usize {
    sorted.partition_point(|k| k.key() < key)
}

/// First index from `start` on where `before` fails, found by galloping: near ones cost little, far ones a
/// logarithm.
pub(crate) fn advance<T: Keyed>(keys: &[T], start: usize, before: impl Fn(u32) -> bool) -> usize {
    let (mut low, mut stride) = (start, 1);
    loop {
        let probe = low + stride - 1;
        match keys.get(probe) {
            Some(&k) if before(k.key()) => {
                low = probe + 1;
                stride *= 2;
            }
            _ => {
                let high = probe.min(keys.len());
                return low + keys[low..high].partition_point(|&k| before(k.key()));
            }
        }
    }
}

/// Below this length a comparison sort is faster than clearing and summing the counters of a radix sort.
const SHORT: usize = 512;

/// Sorts by key, equal keys in the order they had: a radix sort from the lowest digit up over the bits in
/// which the keys differ at all. `scratch` is resized as needed and left with anything.
pub(crate) fn sort<T: Keyed>(items: &mut Vec<T>, scratch: &mut Vec<T>) {
    if items.len() < SHORT {
        items.sort_by_key(|i| i.key());
        return;
    }
    let (low, high) = items.iter().fold((u32::MAX, 0), |(low, high), i| {
        (low.min(i.key()), high.max(i.key()))
    });
    match (u32::BITS - (high - low).leading_zeros()).div_ceil(DIGIT) {
        0 => {}
        1 => sort_digits::<T, 1>(items, scratch, low),
        2 => sort_digits::<T, 2>(items, scratch, low),
        _ => sort_digits::<T, 3>(items, scratch, low),
    }
}

/// Bits of a digit: eleven are the most for which the write positions stay in the first-level cache.
const DIGIT: u32 = 11;
const DIGITS: usize = 1 << DIGIT;

/// Sorts by so many digits of the keys' distances from `low`.
fn sort_digits<T: Keyed, const PASSES: usize>(items: &mut Vec<T>, scratch: &mut Vec<T>, low: u32) {
    let digit = |item: T, pass: usize| ((item.key() - low) >> (pass as u32 * DIGIT)) as usize % DIGITS;
    let mut counts = [[0usize; DIGITS]; PASSES];
    for &item in items.iter() {
        for (pass, counts) in counts.iter_mut().enumerate() {
            counts[digit(item, pass)] += 1;
        }
    }
    scratch.resize(items.len(), T::default());
    for (pass, places) in counts.iter_mut().enumerate() {
        if places.contains(&items.len()) {
            continue;
        }
        let mut next = 0;
        for place in places.iter_mut() {
            next += std::mem::replace(place, next);
        }
        let target = &mut scratch[..];
        for &item in items.iter() {
            let place = &mut places[digit(item, pass)];
            target[*place] = item;
            *place += 1;
        }
        std::mem::swap(items, scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_of_both_signs_are_equal() {
        assert_eq!(key(0.0), key(-0.0));
        assert_eq!(score(key(-0.0)), 0.0);
    }

    proptest! {
        #[test]
        fn keys_reverse_the_order_and_give_the_score_back(a in -1e38f32..1e38, b in -1e38f32..1e38) {
            prop_assert_eq!(key(a).cmp(&key(b)), b.partial_cmp(&a).unwrap());
            prop_assert_eq!(score(key(a)), a);
        }

        #[test]
        fn galloping_equals_a_full_search(
            mut keys in prop::collection::vec(0u32..50, 0..200), start in 0usize..200, wanted in 0u32..52,
        ) {
            keys.sort_unstable();
            let start = start.min(keys.partition_point(|&k| k < wanted));
            prop_assert_eq!(advance(&keys, start, |k| k < wanted), keys.partition_point(|&k| k < wanted));
        }

        #[test]
        fn radix_sort_equals_a_stable_sort(
            keys in prop::collection::vec(any::<u32>(), 0..3000), shift in 0u32..32, base in any::<u32>(),
        ) {
            // From all bits to a single value, at any offset; the low half tells equal keys apart.
            let mut items: Vec<u64> = keys
                .iter()
                .enumerate()
                .map(|(i, k)| u64::from((k >> shift).saturating_add(base)) << 32 | i as u64)
                .collect();
            let mut expected = items.clone();
            expected.sort_by_key(|i| i >> 32);
            sort(&mut items, &mut Vec::new());
            prop_assert_eq!(items, expected);
        }
    }
}
