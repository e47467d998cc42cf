//! Training samples are the same however they are made.

use std::sync::Arc;

use daf_core::data::Reading;
use daf_core::data::geometry::{Framing, Geometry};
use daf_core::{Dataset, Split, Synthesis, Synthesizer};
use daf_data::Demo;
use daf_pipeline::samples::{Loader, Sample, SampleSettings, Samples, TrainValSplit};
use serde_json::json;

fn samples(synthesizer: Option<&str>, seed: u64, cache: u64) -> Arc<Samples> {
    samples_of(Geometry::stretch(96, 80), synthesizer, seed, cache)
}

fn samples_of(geometry: Geometry, synthesizer: Option<&str>, seed: u64, cache: u64) -> Arc<Samples> {
    let data = Demo {
        train: 4,
        size: 64,
        ..Demo::default()
    };
    let synthesizer = synthesizer.map(|name| -> Arc<dyn Synthesizer> {
        Arc::from(serde_json::from_value::<Box<dyn Synthesizer>>(json!({ "type": name })).unwrap())
    });
    let settings = SampleSettings {
        reading: Reading::default(),
        geometry,
        seed,
        normal_share: 0.3,
        cache_bytes: cache,
    };
    let data: Arc<dyn Dataset> = Arc::new(data);
    let normals = TrainValSplit::of(data.items(Split::Train).unwrap(), 0.0, seed).unwrap();
    Arc::new(Samples::new(data, normals.train, synthesizer, settings).unwrap())
}

/// Everything that a sample holds, as bytes.
fn bytes(sample: &Sample) -> Vec<u8> {
    let mut bytes = sample.index.to_le_bytes().to_vec();
    bytes.extend(sample.normal.as_raw());
    match &sample.outcome {
        Some(Synthesis::Anomalous(synthetic)) => {
            bytes.extend(synthetic.image.as_raw());
            bytes.extend(synthetic.mask.as_raw());
            bytes.push(synthetic.class);
            bytes.extend(synthetic.target.iter().flatten().flat_map(|v| v.to_le_bytes()));
        }
        Some(Synthesis::Unchanged) => bytes.push(1),
        None => bytes.push(0),
    }
    bytes
}

fn take(samples: &Arc<Samples>, from: u64, workers: usize, count: usize) -> Vec<Vec<u8>> {
    let mut loader = Loader::start(samples, from, workers).unwrap();
    (0..count).map(|_| bytes(&loader.sample().unwrap())).collect()
}

#[test]
fn samples_depend_neither_on_the_number_of_workers_nor_on_the_cache_nor_on_the_start() {
    const COUNT: usize = 14;
    for synthesizer in [Some("dra"), Some("simple_texture_shape"), None] {
        let cached = samples(synthesizer, 7, 1 << 30);
        let expected = take(&cached, 0, 1, COUNT);
        for workers in [1, 2, 5] {
            let fresh = samples(synthesizer, 7, if workers == 2 { 0 } else { 1 << 30 });
            assert_eq!(
                take(&fresh, 0, workers, COUNT),
                expected,
                "{synthesizer:?}, {workers} workers"
            );
            for from in [1, 6, 9] {
                let found = take(&fresh, from, workers, COUNT - from as usize);
                assert_eq!(
                    found,
                    expected[from as usize..],
                    "{synthesizer:?}, {workers} workers, from sample {from}"
                );
            }
        }
        assert_ne!(
            take(&samples(synthesizer, 8, 0), 0, 1, COUNT),
            expected,
            "another seed"
        );
    }
}

#[test]
fn an_epoch_has_every_image_once_and_each_its_own_damage() {
    let samples = samples(Some("dra"), 7, 1 << 30);
    let mut loader = Loader::start(&samples, 0, 2).unwrap();
    let drawn: Vec<_> = (0..12).map(|_| loader.sample().unwrap()).collect();
    for epoch in drawn.chunks(4) {
        let mut indices: Vec<_> = epoch.iter().map(|sample| sample.index).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2, 3]);
    }
    assert_ne!(samples.order(0), samples.order(1));
    let damage: Vec<_> = drawn
        .iter()
        .filter_map(|sample| match &sample.outcome {
            Some(Synthesis::Anomalous(synthetic)) => Some(synthetic.mask.as_raw()),
            _ => None,
        })
        .collect();
    assert!(
        (4..12).contains(&damage.len()),
        "{} of 12 at a normal share of 0.3",
        damage.len()
    );
    for (number, mask) in damage.iter().enumerate() {
        assert!(!damage[..number].contains(mask), "the same damage twice");
    }
}

#[test]
fn tiles_are_drawn_anew_and_the_filling_of_a_letterbox_is_never_damaged() {
    // Images are 64×64, so tiles of 48×32 have room to move and a window of 96×64 is filled up at both sides.
    let tiles = Geometry {
        fit: Framing::Tile,
        ..Geometry::stretch(48, 32)
    };
    let expected = take(&samples_of(tiles, Some("dra"), 7, 1 << 30), 0, 1, 12);
    assert_eq!(take(&samples_of(tiles, Some("dra"), 7, 0), 0, 3, 12), expected);
    let tiles = samples_of(tiles, None, 7, 1 << 30);
    let drawn: Vec<_> = (0..8)
        .map(|epoch| tiles.sample(epoch, 0).unwrap().normal)
        .collect();
    assert!(drawn.iter().all(|tile| tile.dimensions() == (48, 32)));
    assert!(drawn.iter().any(|tile| tile != &drawn[0]));

    let letterbox = Geometry {
        fit: Framing::Letterbox,
        ..Geometry::stretch(96, 64)
    };
    let letterbox = samples_of(letterbox, Some("simple_texture"), 7, 1 << 30);
    let mut damaged = 0;
    for epoch in 0..20 {
        let sample = letterbox.sample(epoch, 0).unwrap();
        let Some(Synthesis::Anomalous(synthetic)) = sample.outcome else {
            continue;
        };
        damaged += 1;
        for (x, y, pixel) in synthetic.mask.enumerate_pixels() {
            if !(16..80).contains(&x) {
                assert_eq!(pixel.0[0], 0);
                assert_eq!(synthetic.image.get_pixel(x, y), sample.normal.get_pixel(x, y));
            }
        }
    }
    assert!(damaged > 5, "{damaged}");
}

#[test]
fn held_out_images_depend_on_the_seed_alone_and_leave_one_to_learn_from() {
    let data = Demo {
        train: 20,
        size: 64,
        ..Demo::default()
    };
    let held = |share, seed| TrainValSplit::of(data.items(Split::Train).unwrap(), share, seed).unwrap();
    assert_eq!(held(0.25, 1), held(0.25, 1));
    assert_ne!(held(0.25, 1), held(0.25, 2));
    for (share, count) in [(0.0, 0), (0.04, 0), (0.2, 0), (0.25, 5), (1.0, 19)] {
        let normals = held(share, 1);
        assert_eq!(
            (normals.train.len(), normals.validation.len()),
            (20 - count, count)
        );
        assert!(
            normals
                .validation
                .iter()
                .all(|item| !normals.train.contains(item))
        );
    }
}
