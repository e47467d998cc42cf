//! Optimizers whose state can be saved: tch offers no way to read that of its own.

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::config::Optimizer;
use daf_core::Store;

/// The trainable variables of a model and what the optimizer remembers of each.
///
/// Values, gradients and moments lie side by side in memory, so that one operation changes many parameters at once: on a GPU,
/// which needs as long to be asked for a small operation as to do it, these would be most of a step. The variables
/// are parts of that memory from then on.
///
/// The training loop saves it with every checkpoint; a loop of one's own may use it as well.
#[derive(Debug)]
pub struct OptimizerState {
    rule: Optimizer,
    /// One for each device and kind of number.
    flats: Vec<Flat>,
    /// Finished steps.
    steps: u64,
}

/// Parameters side by side, sorted by name.
#[derive(Debug)]
struct Flat {
    slots: Vec<Slot>,
    values: Tensor,
    gradients: Tensor,
    moments: Vec<Tensor>,
}

/// Place of a parameter among the stores.
#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Tensor,
    size: Vec<i64>,
    strides: Vec<i64>,
    start: i64,
    end: i64,
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;
/// Parameters begin at multiples of 64 bytes, as tensors of their own do: kernels are fastest there.
const ALIGNMENT: i64 = 16;
/// Elements that a CPU changes at a time: so many of values, gradients and moments stay in its caches from one operation to
/// the next.
const CACHED: i64 = 1 << 17;

impl OptimizerState {
    /// Starts with empty moments for the variables of the stores that are trained.
    #[must_use]
    pub fn new(rule: &Optimizer, stores: &[Store]) -> Self {
        let mut parameters: Vec<(String, Tensor)> = stores
            .iter()
            .filter(|store| !store.frozen)
            .flat_map(|store| {
                named_parameters(store.vars).map(|(name, p)| (format!("{}.{name}", store.name), p))
            })
            .collect();
        parameters.sort_by(|a, b| a.0.cmp(&b.0));
        let mut alike: Vec<Vec<(String, Tensor)>> = Vec::new();
        for (name, parameter) in parameters {
            let like = |p: &Tensor| (p.device(), p.kind()) == (parameter.device(), parameter.kind());
            match alike.iter_mut().find(|others| like(&others[0].1)) {
                Some(others) => others.push((name, parameter)),
                None => alike.push(vec![(name, parameter)]),
            }
        }
        let moments = match rule {
            Optimizer::Adamw { .. } | Optimizer::Adam { .. } => 2,
            Optimizer::Sgd { .. } => 1,
        };
        let flat = |parameters| tch::no_grad(|| Flat::new(parameters, moments));
        Self {
            rule: rule.clone(),
            flats: alike.into_iter().map(flat).collect(),
            steps: 0,
        }
    }

    /// Forgets all gradients.
    pub fn zero_grad(&mut self) {
        self.gather();
        for flat in &mut self.flats {
            let _ = flat.gradients.zero_();
        }
    }

    /// The first parameter whose gradient is not finite. A value of each is read by the host:
    /// [`gradient_sum`](Self::gradient_sum) says for less whether there is one.
    #[must_use]
    pub fn not_finite(&self) -> Option<&str> {
        let slots = self.flats.iter().flat_map(|flat| &flat.slots);
        let broken = |slot: &&Slot| {
            let gradient = slot.parameter.grad();
            gradient.defined() && !gradient.sum(Kind::Float).double_value(&[]).is_finite()
        };
        slots.into_iter().find(broken).map(|slot| slot.name.as_str())
    }

    /// The sum of all gradients, which is finite if they are; `None` if nothing is trained.
    #[must_use]
    pub fn gradient_sum(&mut self) -> Option<Tensor> {
        self.gather();
        let sums: Vec<Tensor> = (self.flats.iter())
            .map(|flat| flat.gradients.sum(Kind::Float))
            .collect();
        (!sums.is_empty()).then(|| Tensor::stack(&sums, 0).sum(Kind::Double))
    }

    /// Changes the parameters by their gradients, at the rate of the rule times `factor`. Those without one stay as they are.
    pub fn step(&mut self, factor: f64) {
        self.steps += 1;
        self.gather();
        let (rule, steps) = (&self.rule, self.steps);
        tch::no_grad(|| {
            for flat in &mut self.flats {
                flat.step(rule, factor, steps);
            }
        });
    }

    fn gather(&mut self) {
        tch::no_grad(|| self.flats.iter().for_each(Flat::gather));
    }

    /// Everything that a checkpoint must keep, except the number of finished steps.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let named = |flat: &Flat| {
            let moments = flat.moments.iter().enumerate();
            let of = |slot: &Slot| {
                let named = |(k, moment)| (format!("{}#{k}", slot.name), slot.part_of(moment));
                moments.clone().map(named).collect::<Vec<_>>()
            };
            flat.slots.iter().flat_map(of).collect::<Vec<_>>()
        };
        self.flats.iter().flat_map(named).collect()
    }

    /// Takes over saved [`tensors`](Self::tensors) and the number of steps that were finished then.
    ///
    /// # Errors
    /// Says which tensor is missing or has another shape.
    pub fn restore(&mut self, saved: &[(String, Tensor)], steps: u64) -> Result<(), String> {
        let saved: std::collections::HashMap<_, _> =
            saved.iter().map(|(name, t)| (name.as_str(), t)).collect();
        for (name, mut moment) in self.tensors() {
            let tensor = saved
                .get(name.as_str())
                .ok_or_else(|| format!("`{name}` is missing"))?;
            if tensor.size() != moment.size() {
                return Err(format!(
                    "`{name}` should be {:?} but is {:?}",
                    moment.size(),
                    tensor.size()
                ));
            }
            moment.copy_(tensor);
        }
        self.steps = steps;
        Ok(())
    }
}

impl Flat {
    /// Brings parameters of one device and kind together.
    fn new(parameters: Vec<(String, Tensor)>, moments: usize) -> Self {
        let options = (parameters[0].1.kind(), parameters[0].1.device());
        let mut end = 0;
        let place = |(name, parameter): (String, Tensor)| {
            let size = parameter.size();
            let start = (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            end = start + size.iter().product::<i64>();
            Slot {
                name,
                // The parameter's own, but without gaps.
                strides: parameter.empty_like().stride(),
                parameter,
                size,
                start,
                end,
            }
        };
        let slots: Vec<Slot> = parameters.into_iter().map(place).collect();
        let zeros = || Tensor::zeros([end], options);
        let flat = Self {
            slots,
            values: zeros(),
            gradients: zeros(),
            moments: (0..moments).map(|_| zeros()).collect(),
        };
        for slot in &flat.slots {
            settle(&slot.parameter, slot.part_of(&flat.values));
        }
        flat
    }

    /// Has the gradients of all parameters lie where they belong. They do once they have been brought there: the way back
    /// adds to them in place.
    fn gather(&self) {
        for slot in &self.slots {
            let gradient = slot.parameter.grad();
            let part = slot.part_of(&self.gradients);
            if gradient.defined() && gradient.data_ptr() != part.data_ptr() {
                settle(&gradient, part);
            }
        }
    }

    fn step(&mut self, rule: &Optimizer, factor: f64, steps: u64) {
        let longest = match self.values.device() {
            Device::Cpu => CACHED,
            _ => i64::MAX,
        };
        let mut learning = (self.slots.iter())
            .filter(|slot| slot.parameter.grad().defined())
            .peekable();
        while let Some(first) = learning.next() {
            let mut end = first.end;
            while let Some(next) = learning.next_if(|next| next.start - end < ALIGNMENT) {
                end = next.end;
            }
            let mut start = first.start;
            while start < end {
                let length = longest.min(end - start);
                let part = |of: &Tensor| of.narrow(0, start, length);
                let mut moments: Vec<Tensor> = self.moments.iter().map(part).collect();
                change(
                    rule,
                    &mut part(&self.values),
                    &mut moments,
                    &part(&self.gradients),
                    factor,
                    steps,
                );
                start += length;
            }
        }
    }
}

impl Slot {
    /// The part of values, gradients or moments that is this parameter's, in its shape.
    fn part_of(&self, flat: &Tensor) -> Tensor {
        flat.as_strided(&self.size, &self.strides, self.start)
    }
}

/// Moves a tensor's values to other memory. Whoever has the tensor finds them there.
fn settle(tensor: &Tensor, mut to: Tensor) {
    to.copy_(&tensor.detach());
    tensor.shallow_clone().set_data(&to);
}

/// Changes parameters by a rule.
fn change(
    rule: &Optimizer,
    parameter: &mut Tensor,
    moments: &mut [Tensor],
    gradient: &Tensor,
    factor: f64,
    steps: u64,
) {
    match (rule, moments) {
        (
            Optimizer::Adamw {
                learning_rate,
                weight_decay,
            },
            [mean, square],
        ) => {
            let rate = **learning_rate * factor;
            *parameter *= 1.0 - rate * **weight_decay;
            adam(parameter, [mean, square], gradient, BETAS, rate, steps);
        }
        (
            Optimizer::Adam {
                learning_rate,
                betas,
                weight_decay,
            },
            [mean, square],
        ) => {
            let gradient = match **weight_decay {
                0.0 => gradient.shallow_clone(),
                decay => gradient + &*parameter * decay,
            };
            let rate = **learning_rate * factor;
            adam(
                parameter,
                [mean, square],
                &gradient,
                (*betas.0, *betas.1),
                rate,
                steps,
            );
        }
        (
            Optimizer::Sgd {
                learning_rate,
                momentum,
                weight_decay,
            },
            [velocity],
        ) => {
            *velocity *= **momentum;
            *velocity += gradient + &*parameter * **weight_decay;
            *parameter -= &*velocity * (**learning_rate * factor);
        }
        _ => unreachable!("`new` gives each rule its moments"),
    }
}

/// The step that Adam and AdamW share.
fn adam(
    parameter: &mut Tensor,
    [mean, square]: [&mut Tensor; 2],
    gradient: &Tensor,
    betas: (f64, f64),
    rate: f64,
    steps: u64,
) {
    let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(steps).unwrap_or(i32::MAX));
    let _ = mean.lerp_(gradient, 1.0 - betas.0);
    *square *= betas.1;
    *square += gradient.square() * (1.0 - betas.1);
    let deviation = square.sqrt() / correction(betas.1).sqrt() + EPSILON;
    *parameter -= (&*mean / deviation) * (rate / correction(betas.0));
}

/// The trainable variables of a store with their names.
fn named_parameters(vars: &VarStore) -> impl Iterator<Item = (String, Tensor)> {
    vars.variables()
        .into_iter()
        .filter(|(_, variable)| variable.requires_grad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use daf_core::block::channels_last;
    use daf_core::config::{NotNegative, PartialShare};
    use daf_core::weights;

    /// A variable of its own store, whose gradients are given.
    fn variable(initial: &Tensor) -> (VarStore, Tensor) {
        let vars = VarStore::new(Device::Cpu);
        let variable = vars.root().var_copy("x", initial);
        (vars, variable)
    }

    fn stores(vars: &VarStore) -> [Store<'_>; 1] {
        [Store::learned("student", vars)]
    }

    fn step(state: &mut OptimizerState, variable: &Tensor, gradient: &Tensor, factor: f64) {
        state.zero_grad();
        (variable * gradient).sum(Kind::Float).backward();
        state.step(factor);
    }

    const RULES: [Optimizer; 3] = [
        Optimizer::Adamw {
            learning_rate: NotNegative::new(0.01),
            weight_decay: NotNegative::new(0.1),
        },
        Optimizer::Adam {
            learning_rate: NotNegative::new(0.01),
            betas: (PartialShare::new(0.5), PartialShare::new(0.99)),
            weight_decay: NotNegative::new(0.1),
        },
        Optimizer::Sgd {
            learning_rate: NotNegative::new(0.01),
            momentum: NotNegative::new(0.9),
            weight_decay: NotNegative::new(0.1),
        },
    ];

    #[test]
    fn adam_follows_its_definition() {
        let rule = &RULES[1];
        let (vars, x) = variable(&Tensor::from_slice(&[0.5f64]).to_kind(Kind::Float));
        let mut state = OptimizerState::new(rule, &stores(&vars));
        let (mut value, mut mean, mut square) = (0.5f64, 0.0f64, 0.0f64);
        for (number, gradient) in (1..).zip([0.3, -0.2, 0.1]) {
            step(
                &mut state,
                &x,
                &Tensor::from_slice(&[gradient]).to_kind(Kind::Float),
                1.0,
            );
            let full = gradient + 0.1 * value;
            mean = 0.5 * mean + 0.5 * full;
            square = 0.99 * square + 0.01 * full * full;
            let deviation = (square / (1.0 - 0.99f64.powi(number))).sqrt() + 1e-8;
            value -= 0.01 * mean / (1.0 - 0.5f64.powi(number)) / deviation;
            assert!((x.double_value(&[0]) - value).abs() < 1e-6, "step {number}");
        }
    }

    #[test]
    fn golden_adamw_agrees_with_the_reference() {
        let Some(folder) = std::env::var_os("DAF_GOLDEN") else {
            assert!(
                std::env::var_os("CI").is_none(),
                "DAF_GOLDEN must name the folder of golden numbers in CI"
            );
            eprintln!("skipped: DAF_GOLDEN does not name the folder of golden numbers");
            return;
        };
        let file = std::path::Path::new(&folder).join("model/adamw.safetensors");
        let golden: std::collections::HashMap<_, _> = weights::read(&file).unwrap().into_iter().collect();
        let rates = Vec::<f64>::try_from(golden["learning_rate"].to_kind(Kind::Double)).unwrap();
        assert_eq!(rates.len(), 20);
        let (vars, variable) = variable(&golden["initial"]);
        // At a rate of 1 the factor is the rate of the step.
        let rule = Optimizer::Adamw {
            learning_rate: NotNegative::new(1.0),
            weight_decay: NotNegative::new(1e-5),
        };
        let mut state = OptimizerState::new(&rule, &stores(&vars));
        for (number, rate) in rates.iter().enumerate() {
            step(&mut state, &variable, &golden[&format!("grad.{number}")], *rate);
            let error = (&variable - &golden[&format!("param.{number}")])
                .abs()
                .max()
                .double_value(&[]);
            assert!(error <= 1e-7, "step {number}: {error:e}");
        }
    }

    #[test]
    fn a_state_that_was_saved_goes_on_as_if_it_had_not_been() {
        tch::manual_seed(3);
        let gradients: Vec<Tensor> = (0..10)
            .map(|_| Tensor::randn([5, 3], (Kind::Float, Device::Cpu)))
            .collect();
        let initial = Tensor::randn([5, 3], (Kind::Float, Device::Cpu));
        for rule in RULES {
            let (vars, x) = variable(&initial);
            let mut whole = OptimizerState::new(&rule, &stores(&vars));
            for gradient in &gradients {
                step(&mut whole, &x, gradient, 0.5);
            }

            let (vars, y) = variable(&initial);
            let mut first = OptimizerState::new(&rule, &stores(&vars));
            for gradient in &gradients[..4] {
                step(&mut first, &y, gradient, 0.5);
            }
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("optimizer.safetensors");
            weights::write(&file, first.tensors()).unwrap();

            let (vars, z) = variable(&y.detach());
            let mut second = OptimizerState::new(&rule, &stores(&vars));
            second.restore(&weights::read(&file).unwrap(), 4).unwrap();
            for gradient in &gradients[4..] {
                step(&mut second, &z, gradient, 0.5);
            }
            assert!(x.equal(&z), "{rule:?}: {x:?} and {z:?}");
            assert!(!x.equal(&y), "{rule:?}");
        }
    }

    #[test]
    fn parameters_change_together_as_each_would_alone() {
        tch::manual_seed(5);
        let float = (Kind::Float, Device::Cpu);
        // One of them longer than what is changed at a time, one in the layout of convolutions.
        let initial = [
            Tensor::randn([3], float),
            Tensor::randn([CACHED + 5], float),
            Tensor::randn([4, 3, 2, 2], float),
            Tensor::randn([] as [i64; 0], float),
        ];
        let learns = [true, true, true, true, false, true];
        for rule in RULES {
            let vars = VarStore::new(Device::Cpu);
            let together: Vec<Tensor> = (0..learns.len())
                .map(|k| {
                    vars.root()
                        .var_copy(&format!("x{k}"), &initial[k % initial.len()])
                })
                .collect();
            for weight in together.iter().filter(|weight| weight.dim() == 4) {
                tch::no_grad(|| weight.shallow_clone().set_data(&channels_last(weight)));
            }
            let strides: Vec<_> = together.iter().map(Tensor::stride).collect();
            let mut state = OptimizerState::new(&rule, &stores(&vars));
            let alone: Vec<(VarStore, Tensor)> = together.iter().map(variable).collect();
            let mut states: Vec<_> = alone
                .iter()
                .map(|(vars, _)| OptimizerState::new(&rule, &stores(vars)))
                .collect();
            for factor in [1.0, 0.5, 0.25] {
                let gradients: Vec<Tensor> = together.iter().map(Tensor::randn_like).collect();
                state.zero_grad();
                let terms: Vec<Tensor> = (0..learns.len())
                    .filter(|&k| learns[k])
                    .map(|k| (&together[k] * &gradients[k]).sum(Kind::Float))
                    .collect();
                Tensor::stack(&terms, 0).sum(Kind::Float).backward();
                state.step(factor);
                for k in (0..learns.len()).filter(|&k| learns[k]) {
                    step(&mut states[k], &alone[k].1, &gradients[k], factor);
                }
            }
            for (k, (whole, (_, single))) in together.iter().zip(&alone).enumerate() {
                assert!(whole.equal(single), "{rule:?}: parameter {k}");
                assert_eq!(
                    whole.equal(&initial[k % initial.len()]),
                    !learns[k],
                    "{rule:?}: parameter {k}"
                );
                assert_eq!(whole.stride(), strides[k], "{rule:?}: parameter {k}");
            }
        }
    }

    #[test]
    fn a_state_of_another_network_is_refused_by_name() {
        for rule in RULES {
            let (vars, _) = variable(&Tensor::zeros([5, 3], (Kind::Float, Device::Cpu)));
            let mut state = OptimizerState::new(&rule, &stores(&vars));
            let error = state.restore(&[], 1).unwrap_err();
            assert_eq!(error, "`student.x#0` is missing");
            let transposed: Vec<_> = state
                .tensors()
                .iter()
                .map(|(name, t)| (name.clone(), t.tr()))
                .collect();
            let error = state.restore(&transposed, 1).unwrap_err();
            assert_eq!(error, "`student.x#0` should be [5, 3] but is [3, 5]");
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_named() {
        let (vars, x) = variable(&Tensor::ones([2], (Kind::Float, Device::Cpu)));
        let mut state = OptimizerState::new(&RULES[0], &stores(&vars));
        assert_eq!(state.not_finite(), None, "no gradient at all");
        (&x * 2.0).sum(Kind::Float).backward();
        assert_eq!(state.not_finite(), None);
        state.zero_grad();
        (&x * f64::INFINITY).sum(Kind::Float).backward();
        assert_eq!(state.not_finite(), Some("student.x"));
    }
}
