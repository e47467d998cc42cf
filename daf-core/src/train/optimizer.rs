//! Optimizers whose state can be saved: tch offers no way to read that of its own.

use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::config::Optimizer;
use crate::part::method::Store;

/// The trainable variables of a model and what the optimizer remembers of each.
///
/// The training loop saves it with every checkpoint; a loop of one's own may use it as well.
#[derive(Debug)]
pub struct OptimizerState {
    rule: Optimizer,
    /// Sorted by name.
    slots: Vec<Slot>,
    /// Finished steps.
    steps: u64,
}

#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Tensor,
    moments: Vec<Tensor>,
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

impl OptimizerState {
    /// Starts with empty moments for the variables of the stores that are trained.
    #[must_use]
    pub fn new(rule: &Optimizer, stores: &[Store]) -> Self {
        let mut slots: Vec<Slot> = stores
            .iter()
            .filter(|store| !store.frozen)
            .flat_map(|store| {
                named_parameters(store.vars).map(|(name, p)| (format!("{}.{name}", store.name), p))
            })
            .map(|(name, parameter)| {
                let moments = match rule {
                    Optimizer::Adamw { .. } | Optimizer::Adam { .. } => {
                        vec![parameter.zeros_like(), parameter.zeros_like()]
                    }
                    Optimizer::Sgd { .. } => vec![parameter.zeros_like()],
                };
                Slot {
                    name,
                    parameter,
                    moments,
                }
            })
            .collect();
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            rule: rule.clone(),
            slots,
            steps: 0,
        }
    }

    /// Forgets all gradients.
    pub fn zero_grad(&mut self) {
        for slot in &mut self.slots {
            slot.parameter.zero_grad();
        }
    }

    /// The first parameter whose gradient is not finite. A value of each is read by the host:
    /// [`gradient_sum`](Self::gradient_sum) says for less whether there is one.
    #[must_use]
    pub fn not_finite(&self) -> Option<&str> {
        let broken = |gradient: &Tensor| !gradient.sum(Kind::Float).double_value(&[]).is_finite();
        self.gradients()
            .find(|(_, gradient)| broken(gradient))
            .map(|(slot, _)| slot.name.as_str())
    }

    /// The sum of all gradients, which is finite if they are; `None` if there are none.
    #[must_use]
    pub fn gradient_sum(&self) -> Option<Tensor> {
        let sums: Vec<Tensor> = self
            .gradients()
            .map(|(_, gradient)| gradient.sum(Kind::Float))
            .collect();
        (!sums.is_empty()).then(|| Tensor::stack(&sums, 0).sum(Kind::Double))
    }

    fn gradients(&self) -> impl Iterator<Item = (&Slot, Tensor)> {
        self.slots
            .iter()
            .map(|slot| (slot, slot.parameter.grad()))
            .filter(|(_, gradient)| gradient.defined())
    }

    /// Changes the parameters by their gradients, at the rate of the rule times `factor`.
    pub fn step(&mut self, factor: f64) {
        self.steps += 1;
        let (rule, steps) = (&self.rule, self.steps);
        tch::no_grad(|| {
            for slot in &mut self.slots {
                let gradient = slot.parameter.grad();
                if gradient.defined() {
                    slot.step(rule, &gradient, factor, steps);
                }
            }
        });
    }

    /// Everything that a checkpoint must keep, except the number of finished steps.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let named = |slot: &Slot| {
            let name = slot.name.clone();
            slot.moments
                .iter()
                .enumerate()
                .map(move |(k, m)| (format!("{name}#{k}"), m.shallow_clone()))
                .collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(named).collect()
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

impl Slot {
    fn step(&mut self, rule: &Optimizer, gradient: &Tensor, factor: f64, steps: u64) {
        let parameter = &mut self.parameter;
        match (rule, &mut self.moments[..]) {
            (
                Optimizer::Adamw {
                    learning_rate,
                    weight_decay,
                },
                [mean, square],
            ) => {
                let rate = learning_rate * factor;
                *parameter *= 1.0 - rate * weight_decay;
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
                let gradient = match *weight_decay {
                    0.0 => gradient.shallow_clone(),
                    decay => gradient + &*parameter * decay,
                };
                let rate = learning_rate * factor;
                adam(parameter, [mean, square], &gradient, *betas, rate, steps);
            }
            (
                Optimizer::Sgd {
                    learning_rate,
                    momentum,
                    weight_decay,
                },
                [velocity],
            ) => {
                *velocity *= *momentum;
                *velocity += gradient + &*parameter * *weight_decay;
                *parameter -= &*velocity * (learning_rate * factor);
            }
            _ => unreachable!("`new` gives each rule its moments"),
        }
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
    use crate::weights;
    use tch::Device;

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
            learning_rate: 0.01,
            weight_decay: 0.1,
        },
        Optimizer::Adam {
            learning_rate: 0.01,
            betas: (0.5, 0.99),
            weight_decay: 0.1,
        },
        Optimizer::Sgd {
            learning_rate: 0.01,
            momentum: 0.9,
            weight_decay: 0.1,
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
            learning_rate: 1.0,
            weight_decay: 1e-5,
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
