//! Score maps like those of a trained detector: smooth noise, raised over a few elliptic defects, about 4 % of all
//! pixels anomalous.

/// Side of the maps.
pub(crate) const SIDE: usize = 256;

/// A score map and its mask, [`SIDE`]² each.
pub(crate) struct Map {
    pub(crate) scores: Vec<f32>,
    pub(crate) mask: Vec<u8>,
}

/// The `index`-th map of an endless test set; three of four have one to three defects.
pub(crate) fn map(index: usize) -> Map {
    let mut state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(index as u64 + 1);
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    const CELLS: usize = 33;
    let lattice: Vec<f32> = (0..CELLS * CELLS).map(|_| uniform()).collect();
    let count = if index.is_multiple_of(4) { 0 } else { 1 + index % 3 };
    let ellipses: Vec<[f32; 4]> = (0..count)
        .map(|_| {
            [
                uniform() * 256.0,
                uniform() * 256.0,
                6.0 + 40.0 * uniform(),
                6.0 + 32.0 * uniform(),
            ]
        })
        .collect();
    let (mut scores, mut mask) = (Vec::with_capacity(SIDE * SIDE), Vec::with_capacity(SIDE * SIDE));
    for y in 0..SIDE {
        for x in 0..SIDE {
            let (u, v) = (x as f32 / 8.0, y as f32 / 8.0);
            let (i, j) = (u as usize, v as usize);
            let (s, t) = (u - i as f32, v - j as f32);
            let at = |i: usize, j: usize| lattice[j * CELLS + i];
            let smooth = (at(i, j) * (1.0 - s) + at(i + 1, j) * s) * (1.0 - t)
                + (at(i, j + 1) * (1.0 - s) + at(i + 1, j + 1) * s) * t;
            let distance = ellipses
                .iter()
                .map(|e| ((x as f32 - e[0]) / e[2]).powi(2) + ((y as f32 - e[1]) / e[3]).powi(2))
                .fold(f32::MAX, f32::min);
            // The heat reaches a little over the edge of the defect and is weaker there.
            let heat = (1.4 - distance).clamp(0.0, 1.0);
            scores.push(0.05 + 0.3 * smooth + 0.02 * uniform() + 0.35 * heat);
            mask.push(u8::from(distance < 1.0));
        }
    }
    Map { scores, mask }
}
