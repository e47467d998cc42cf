use std::collections::HashSet;
use std::sync::Arc;

use crate::method::Daf;
use daf_core::config::Positive;
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::{Kind, Tensor};
use daf_core::{
    Batch, BoxError, BuildContext, Fit, Losses, Maps, Method, Model, NormalImages, Origin, Store,
    Synthesized, common_stride, typetag,
};
use serde::{Deserialize, Serialize};

/// Methods that are trained side by side, without weights or losses in common, and whose maps are added.
///
/// By default it is the "Ensem." of the DAF paper's Table IX: teacher and student without a decoder, and a student with
/// decoder and auxiliary heads without a teacher. Discrepancy maps are given to the scorer as those of as many more stages,
/// times the weights; probabilities are averaged by the weights, so that they stay within 0..=1, and how much they count
/// beside the discrepancy is the scorer's `lambda`. Where every member scores images itself, the scores are added by the
/// weights; otherwise the scorer draws them from the pixels. Members share optimizer, schedule and samples; since each
/// parameter meets the losses of its member alone, optimizers that go by the single parameter train each as if it were
/// alone. Where `input.normalization` is `auto`, it is the first member's.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ensemble {
    /// The methods with their weights, each as `{ weight: 1.0, method: { type: … } }`.
    pub members: Vec<Member>,
}
daf_core::register!(Method: Ensemble = "ensemble");

/// A method of an ensemble.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Factor of its maps: over 0, 1 if left out.
    #[serde(default = "one")]
    pub weight: Positive,
    /// The method, any one.
    pub method: Arc<dyn Method>,
}

const fn one() -> Positive {
    Positive::new(1.0)
}

impl Default for Ensemble {
    fn default() -> Self {
        let member = |method: Daf| Member {
            weight: one(),
            method: Arc::new(method),
        };
        Self {
            members: vec![
                member(Daf {
                    decoder: None,
                    auxiliary: None,
                    ..Daf::default()
                }),
                member(Daf {
                    teacher: None,
                    discrepancy: None,
                    ..Daf::default()
                }),
            ],
        }
    }
}

impl Ensemble {
    fn any(&self, is: impl Fn(&dyn Method) -> bool) -> bool {
        self.members.iter().any(|member| is(member.method.as_ref()))
    }
}

#[typetag::serde(name = Ensemble::NAME)]
impl Method for Ensemble {
    fn needs_synthesis(&self) -> bool {
        self.any(|method| method.needs_synthesis())
    }

    fn learns(&self) -> bool {
        self.any(|method| method.learns())
    }

    fn normalization(&self) -> Normalization {
        let first = self.members.first();
        first.map_or(Normalization::Imagenet, |member| member.method.normalization())
    }

    fn stride(&self) -> i64 {
        common_stride(self.members.iter().map(|member| member.method.stride()))
    }

    fn min_side(&self) -> i64 {
        let sides = self.members.iter().map(|member| member.method.min_side());
        sides.max().unwrap_or(1)
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let members = (1..).zip(&self.members).map(|(number, member)| {
            let model = member
                .method
                .build(context)
                .map_err(|error| format!("{}: {error}", place(number, member)))?;
            // Stores of two members may bear the same name; their files may not.
            let names = model
                .stores()
                .iter()
                .map(|store| format!("{}_{number}", store.name))
                .collect();
            Ok(Built {
                number,
                name: member.method.typetag_name(),
                weight: *member.weight,
                learns: member.method.learns(),
                model,
                names,
            })
        });
        let members = members.collect::<Result<Vec<Built>, BoxError>>()?;
        let mut names = HashSet::new();
        for name in members.iter().flat_map(|member| &member.names) {
            if !names.insert(name) {
                return Err(
                    format!("two networks of the members would both be kept in the file `{name}`").into(),
                );
            }
        }
        Ok(Box::new(EnsembleModel { members }))
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.members.is_empty() {
            return Err("`members` must hold at least one method".into());
        }
        for (number, member) in (1..).zip(&self.members) {
            let at = place(number, member);
            member.method.check().map_err(|error| format!("{at}: {error}"))?;
        }
        Ok(())
    }
}

/// How errors name a member.
fn place(number: usize, member: &Member) -> String {
    format!("member {number} (`{}`)", member.method.typetag_name())
}

/// A member on a device.
struct Built {
    /// Counted from 1.
    number: usize,
    name: &'static str,
    weight: f64,
    learns: bool,
    model: Box<dyn Model>,
    /// Names of its stores within the ensemble.
    names: Vec<String>,
}

impl Built {
    /// The result, with the member's name on what goes wrong.
    fn named<T>(&self, result: Result<T, BoxError>) -> Result<T, BoxError> {
        result.map_err(|error| format!("member {} (`{}`): {error}", self.number, self.name).into())
    }
}

struct EnsembleModel {
    members: Vec<Built>,
}

impl Model for EnsembleModel {
    fn stores(&self) -> Vec<Store<'_>> {
        let mut stores = Vec::new();
        for member in &self.members {
            for (store, name) in member.model.stores().into_iter().zip(&member.names) {
                stores.push(Store { name, ..store });
            }
        }
        stores
    }

    fn origins(&self) -> Vec<Origin> {
        let of = |member: &Built| {
            let number = member.number;
            let renamed = move |origin: Origin| Origin {
                network: format!("{}_{number}", origin.network),
                ..origin
            };
            member
                .model
                .origins()
                .into_iter()
                .map(renamed)
                .collect::<Vec<_>>()
        };
        self.members.iter().flat_map(of).collect()
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        // Members know nothing of each other: their networks may have the same name, by which features are kept.
        let batch = &without_features(batch);
        let mut losses = Losses::new();
        for member in self.members.iter().filter(|member| member.learns) {
            let found = member.named(member.model.losses(batch))?;
            let named = |(name, loss)| (format!("{}.{name}", member.number), loss);
            losses.extend(found.into_iter().map(named));
        }
        Ok(losses)
    }

    fn fit(&mut self, when: Fit, images: &dyn NormalImages) -> Result<bool, BoxError> {
        let mut changed = false;
        for member in &mut self.members {
            let fitted = member.model.fit(when, images);
            changed |= member.named(fitted)?;
        }
        Ok(changed)
    }

    fn kept_patches(&self) -> u64 {
        self.members
            .iter()
            .map(|member| member.model.kept_patches())
            .sum()
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let mut joined = Maps::default();
        let (mut probabilities, mut scores) = (Vec::new(), Vec::new());
        for member in &self.members {
            let found = member.named(member.model.infer(images))?;
            joined
                .discrepancy
                .extend(found.discrepancy.into_iter().map(|map| map * member.weight));
            probabilities.extend(
                found
                    .probability
                    .map(|map| (member.weight, map.to_kind(Kind::Float))),
            );
            scores.extend(
                found
                    .images
                    .map(|scores| scores.to_kind(Kind::Float) * member.weight),
            );
        }
        let weights: f64 = probabilities.iter().map(|(weight, _)| weight).sum();
        joined.probability = probabilities
            .into_iter()
            .map(|(weight, map)| map * (weight / weights))
            .reduce(|a, b| a + b)
            // Shares of 1 may add up to a little more.
            .map(|map| map.clamp(0.0, 1.0));
        if scores.len() == self.members.len() {
            joined.images = scores.into_iter().reduce(|a, b| a + b);
        }
        Ok(joined)
    }
}

/// Copy of a batch without cached features.
fn without_features(batch: &Batch) -> Batch {
    let synthetic = batch.synthetic.as_ref().map(|synthetic| Synthesized {
        images: synthetic.images.shallow_clone(),
        mask: synthetic.mask.shallow_clone(),
        target: synthetic.target.shallow_clone(),
        class: synthetic.class.clone(),
    });
    Batch {
        normal: batch.normal.shallow_clone(),
        synthetic,
        indices: batch.indices.clone(),
        features: None,
    }
}

#[cfg(test)]
mod tests {
    use daf_core::block::Mode;
    use daf_core::macs::count;
    use daf_core::tch;

    use super::*;
    use crate::alone::alone;
    use crate::method::slow::{self, FLOAT};
    use crate::method::{Nsa, SegmentationOnly};

    fn of(methods: Vec<(f64, Arc<dyn Method>)>) -> Ensemble {
        let member = |(weight, method)| Member {
            weight: Positive::new(weight),
            method,
        };
        Ensemble {
            members: methods.into_iter().map(member).collect(),
        }
    }

    #[test]
    fn it_has_the_parameters_of_its_members_and_stores_of_different_names() {
        alone();
        let model = slow::built(&Ensemble::default(), Mode::Train, (64, 64));
        let stores = model.stores();
        let names: Vec<&str> = stores.iter().map(|store| store.name).collect();
        assert_eq!(names, ["teacher_1", "student_1", "student_2"]);
        let counts: Vec<u64> = stores.iter().map(Store::parameters).collect();
        // The decoder without a guide lacks its 256 channels in the first block, and the smoothing convolution.
        let unguided = 4_432_452 - 66_048 - 256 * 256 * 9;
        assert_eq!(counts, [2_782_784, 2_782_784, unguided]);
        // The teacher learns nothing.
        assert_eq!(model.parameters(), 2_782_784 + unguided);
    }

    #[test]
    fn its_maps_losses_and_work_are_those_of_its_members_put_together() {
        alone();
        let segmentation = || {
            Arc::new(SegmentationOnly {
                width: 2,
                features: 4,
                ..SegmentationOnly::default()
            })
        };
        let teacher_student = Arc::clone(&Ensemble::default().members[0].method);
        let methods: Vec<(f64, Arc<dyn Method>)> = vec![
            (0.5, teacher_student),
            (3.0, segmentation()),
            (1.0, segmentation()),
        ];
        let members: Vec<Box<dyn Model>> = methods
            .iter()
            .map(|(_, method)| slow::built(method.as_ref(), Mode::Infer, (64, 64)))
            .collect();
        let whole = slow::built(&of(methods), Mode::Infer, (64, 64));
        tch::no_grad(|| {
            let parts = members.iter().flat_map(|member| member.stores());
            for (store, part) in whole.stores().iter().zip(parts) {
                let values = part.vars.variables();
                for (name, mut variable) in store.vars.variables() {
                    variable.copy_(&values[&name]);
                }
            }
        });
        let images = slow::Draws::new(16).uniform(&[2, 3, 64, 64]);
        let infer = |model: &dyn Model| count(|| tch::no_grad(|| model.infer(&images).unwrap()));
        let (found, work) = infer(whole.as_ref());
        let parts: Vec<_> = members.iter().map(|member| infer(member.as_ref())).collect();
        let near = |a: &Tensor, b: &Tensor| assert!((a - b).abs().max().double_value(&[]) < 1e-5);
        assert_eq!(found.discrepancy.len(), 3);
        for (found, part) in found.discrepancy.iter().zip(&parts[0].0.discrepancy) {
            near(found, &(part * 0.5));
        }
        let probability = |number: usize| parts[number].0.probability.as_ref().unwrap();
        near(
            found.probability.as_ref().unwrap(),
            &(probability(1) * 0.75 + probability(2) * 0.25),
        );
        assert!(found.images.is_none(), "the first member scores no images");
        assert_eq!(
            work.defined,
            parts.iter().map(|(_, work)| work.defined).sum::<u64>()
        );

        let batch = slow::damaged(64);
        let losses = whole.losses(&batch).unwrap();
        let expected = (1..).zip(&members).flat_map(|(number, member)| {
            let named = move |(name, loss)| (format!("{number}.{name}"), loss);
            member.losses(&batch).unwrap().into_iter().map(named)
        });
        for ((name, loss), (expected, of_member)) in losses.iter().zip(expected) {
            assert_eq!(*name, expected);
            near(loss, &of_member);
        }
        assert_eq!(losses.len(), 6 + 2 + 2);
    }

    #[test]
    fn scores_of_images_are_added_where_every_member_has_one() {
        alone();
        let method = || -> Arc<dyn Method> {
            Arc::new(SegmentationOnly {
                width: 2,
                features: 4,
                ..SegmentationOnly::default()
            })
        };
        let model = slow::built(&of(vec![(1.0, method()), (2.0, method())]), Mode::Infer, (64, 64));
        let images = Tensor::rand([2, 3, 64, 64], FLOAT);
        let found = tch::no_grad(|| model.infer(&images)).unwrap();
        assert_eq!(found.images.unwrap().size(), [2]);
    }

    #[test]
    fn what_it_cannot_be_is_said_with_the_member_at_fault() {
        alone();
        let nsa = || -> Arc<dyn Method> { Arc::new(Nsa::default()) };
        let fault = |ensemble: Ensemble| ensemble.check().unwrap_err().to_string();
        assert_eq!(fault(of(vec![])), "`members` must hold at least one method");
        let narrow = Arc::new(SegmentationOnly {
            width: 0,
            ..SegmentationOnly::default()
        });
        assert_eq!(
            fault(of(vec![(1.0, narrow)])),
            "member 1 (`segmentation_only`): `width` must be 1 to 4096 channels, found 0"
        );
        let model = slow::built(&of(vec![(1.0, nsa())]), Mode::Train, (64, 64));
        let error = model.losses(&slow::batch((64, 64))).unwrap_err().to_string();
        assert!(
            error.starts_with("member 1 (`nsa`): the method learns from"),
            "{error}"
        );
    }

    #[test]
    fn sides_must_suit_every_member() {
        alone();
        let segmentation: Arc<dyn Method> = Arc::new(SegmentationOnly::default());
        assert_eq!(of(vec![(1.0, Arc::clone(&segmentation))]).stride(), 8);
        assert_eq!(
            of(vec![(1.0, segmentation), (1.0, Arc::new(Nsa::default()))]).stride(),
            32
        );
    }

    #[test]
    fn teachers_of_one_name_do_not_get_each_others_features() {
        alone();
        let members = [Arc::new(Daf::default()), Arc::new(Daf::default())];
        let whole = slow::built(
            &of(members.map(|member| (1.0, member as Arc<dyn Method>)).to_vec()),
            Mode::Train,
            (96, 96),
        );
        let plain = slow::damaged(96);
        let mut kept = without_features(&plain);
        kept.features = daf_core::FeatureCache::new(1 << 30, 8);
        let losses = |batch: &Batch| whole.losses(batch).unwrap();
        for ((name, loss), (_, expected)) in losses(&kept).iter().zip(losses(&plain)) {
            let far = (loss - expected).abs().double_value(&[]);
            assert!(far < 1e-4, "{name}: {far}");
        }
    }
}
