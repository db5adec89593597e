//! Paths of one option, a fixed number of them at a time, from maturity back to today.

use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Dxsm;

use super::exp::exp;
use super::option::PutOption;
use super::regression::{Moments, Policy, Scale};

/// Pairs of paths in a unit: their state, 32 KiB, fits into a first-level cache, and one date of them takes about 12
/// microseconds, a hundred times what it costs to hand out a unit.
pub(super) const PAIRS: usize = 1024;

/// One option in units of its strike and in years.
///
/// The price of the asset at time t is S(t) = S(0) exp((r - σ²/2) t + σ W(t)) with a Brownian motion W.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    /// Price today.
    pub(super) spot: f64,
    /// Exercise dates after today, the last one at maturity. At least 1.
    pub(super) dates: usize,
    rate: f64,
    volatility: f64,
    /// Years between two dates.
    step: f64,
}

/// What one sweep over the paths does. The same for all units of an option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// What to decide at the date that the paths are at.
    policy: Option<Policy>,
    /// Where to take them then.
    to: To,
}

/// Where a sweep takes the paths.
#[derive(Clone, Copy, Debug)]
enum To {
    /// The last date: σ W is normal with this standard deviation.
    Maturity { deviation: f64, forward: f64, discount: f64 },
    /// The date before: σ W given its later value is normal with mean `keep` times that, and this standard deviation.
    Earlier { keep: f64, deviation: f64, forward: f64, scale: Scale },
    /// Today, where all paths meet.
    Today,
}

impl Model {
    pub(super) fn new(option: &PutOption) -> Self {
        // Bounded by validation.
        let dates = (option.maturity_years * option.exercises_per_year).round().max(1.0);
        Self {
            spot: option.spot / option.strike,
            dates: dates as usize,
            rate: option.rate,
            volatility: option.volatility,
            step: option.maturity_years / dates,
        }
    }

    fn time(&self, date: usize) -> f64 {
        date as f64 * self.step
    }

    fn discount(&self, date: usize) -> f64 {
        (-self.rate * self.time(date)).exp()
    }

    /// The factor from exp(σ W) to the price: S(0) exp((r - σ²/2) t).
    fn forward(&self, date: usize) -> f64 {
        self.spot * ((self.rate - 0.5 * self.volatility * self.volatility) * self.time(date)).exp()
    }

    /// The prices at `date` that are in the money and within four standard deviations.
    fn scale(&self, date: usize) -> Scale {
        let spread = 4.0 * self.volatility * self.time(date).sqrt();
        let (low, high) = (self.forward(date) * (-spread).exp(), self.forward(date) * spread.exp());
        // If nothing is in the money there is nothing to scale, but the map must be finite.
        let high = high.min(1.0);
        Scale::new(low.min(0.999 * high), high)
    }

    /// The sweep that takes the paths to `date`, after having decided at the one they are at.
    pub(super) fn task(&self, date: usize, policy: Option<Policy>) -> Task {
        let forward = self.forward(date);
        let to = if date == self.dates {
            let deviation = self.volatility * self.time(date).sqrt();
            To::Maturity { deviation, forward, discount: self.discount(date) }
        } else if date > 0 {
            // Brownian bridge from W(0) = 0 to W at the date after.
            let keep = date as f64 / (date + 1) as f64;
            let deviation = self.volatility * (self.step * keep).sqrt();
            To::Earlier { keep, deviation, forward, scale: self.scale(date) }
        } else {
            To::Today
        };
        Task { policy, to }
    }

    /// The rule for `date` from the sums over all paths in the money there.
    pub(super) fn policy(&self, date: usize, sums: &Moments) -> Policy {
        Policy {
            forward: self.forward(date),
            discount: self.discount(date),
            scale: self.scale(date),
            value: sums.fit(),
        }
    }
}

/// Up to [`PAIRS`] pairs of antithetic paths: one moves by W, the other by -W.
pub(super) struct Unit {
    random: Pcg64Dxsm,
    /// σ W at the present date.
    motion: Vec<f64>,
    /// exp(σ W) at the present date; for the other path of the pair it is the reciprocal.
    growth: Vec<f64>,
    /// Cash flow of the path with W, discounted to today, in units of the strike.
    flow: Vec<f64>,
    /// The same for the path with -W.
    mirror: Vec<f64>,
    /// After a sweep to a date: sums over the paths in the money there.
    pub(super) moments: Moments,
    /// After the sweep to today: the means of the pairs.
    pub(super) values: Sample,
}

impl Unit {
    /// A unit of `pairs` pairs of an option, with a random stream of its own. Allocates nothing yet.
    pub(super) fn new(seed: u64, option: usize, unit: usize, pairs: usize) -> Self {
        // Both the start and the increment of the generator depend on all three numbers.
        let place = (option as u64) << 32 | unit as u64;
        let random = Pcg64Dxsm::new(
            u128::from(scramble(seed)) << 64 | u128::from(scramble(place ^ 0x5851_f42d_4c95_7f2d)),
            u128::from(scramble(seed ^ place.rotate_left(17))) << 64 | u128::from(place),
        );
        let zeros = || vec![0.0; pairs];
        Self {
            random,
            motion: zeros(),
            growth: zeros(),
            flow: zeros(),
            mirror: zeros(),
            moments: Moments::default(),
            values: Sample::default(),
        }
    }

    /// Decides at the present date and goes to the next.
    pub(super) fn sweep(&mut self, task: &Task) {
        if let Some(policy) = &task.policy {
            self.decide(policy);
        }
        match task.to {
            To::Maturity { deviation, forward, discount } => {
                self.wander(0.0, deviation);
                self.pay(forward, discount);
            }
            To::Earlier { keep, deviation, forward, scale } => {
                self.wander(keep, deviation);
                self.moments = self.measure(forward, scale);
            }
            To::Today => {
                self.values = Sample::from_numbers(
                    self.flow.iter().zip(&self.mirror).map(|(a, b)| 0.5 * (a + b)),
                );
            }
        }
    }

    /// One step of the Brownian bridge. Loops apart: the generator is serial, the exponential is not.
    fn wander(&mut self, keep: f64, deviation: f64) {
        for motion in &mut self.motion {
            let normal: f64 = StandardNormal.sample(&mut self.random);
            *motion = keep * *motion + deviation * normal;
        }
        for (growth, motion) in self.growth.iter_mut().zip(&self.motion) {
            *growth = exp(*motion);
        }
    }

    /// The payoff at maturity.
    fn pay(&mut self, forward: f64, discount: f64) {
        for ((flow, mirror), growth) in self.flow.iter_mut().zip(&mut self.mirror).zip(&self.growth)
        {
            *flow = (1.0 - forward * growth).max(0.0) * discount;
            *mirror = (1.0 - forward / growth).max(0.0) * discount;
        }
    }

    /// Exercises where the policy says so.
    fn decide(&mut self, policy: &Policy) {
        for ((flow, mirror), growth) in self.flow.iter_mut().zip(&mut self.mirror).zip(&self.growth)
        {
            *flow = policy.choose(policy.forward * growth, *flow);
            *mirror = policy.choose(policy.forward / growth, *mirror);
        }
    }

    /// Sums over the paths in the money.
    fn measure(&self, forward: f64, scale: Scale) -> Moments {
        // The paths in the money are gathered first, without a branch that would be mispredicted half of the time.
        let mut us = [0.0; 2 * PAIRS];
        let mut ys = [0.0; 2 * PAIRS];
        let mut count = 0;
        let mut gather = |price: f64, flow: f64| {
            us[count] = scale.apply(price);
            ys[count] = flow;
            count += usize::from(price < 1.0);
        };
        for ((flow, mirror), growth) in self.flow.iter().zip(&self.mirror).zip(&self.growth) {
            gather(forward * growth, *flow);
            gather(forward / growth, *mirror);
        }
        Moments::from_points(&us[..count], &ys[..count])
    }
}

/// The finalizer of SplitMix64 (Steele, Lea & Flood 2014): neighbours become unrelated.
fn scramble(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Mean and spread of independent numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    count: f64,
    pub(super) mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Sample {
    fn from_numbers(numbers: impl ExactSizeIterator<Item = f64> + Clone) -> Self {
        let count = numbers.len() as f64;
        let mean = numbers.clone().sum::<f64>() / count;
        Self { count, mean, squares: numbers.map(|number| (number - mean) * (number - mean)).sum() }
    }

    /// Joins two samples (Chan, Golub & LeVeque 1979), without the cancellation of summed squares.
    pub(super) fn add(&mut self, other: &Self) {
        let count = self.count + other.count;
        if count == 0.0 {
            return;
        }
        let distance = other.mean - self.mean;
        self.mean += distance * other.count / count;
        self.squares += other.squares + distance * distance * self.count * other.count / count;
        self.count = count;
    }

    /// Standard deviation of the mean; 0 for a single number, which says nothing about it.
    pub(super) fn standard_error(&self) -> f64 {
        if self.count < 2.0 { 0.0 } else { (self.squares / (self.count - 1.0) / self.count).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_samples_equal_one_sample() {
        let numbers: Vec<f64> =
            (0..1000).map(|index| 1e6 + f64::from(index * index % 97)).collect();
        let whole = Sample::from_numbers(numbers.iter().copied());
        let mut joined = Sample::default();
        numbers
            .chunks(130)
            .for_each(|chunk| joined.add(&Sample::from_numbers(chunk.iter().copied())));
        assert!((whole.mean / joined.mean - 1.0).abs() < 1e-14);
        assert!((whole.standard_error() / joined.standard_error() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_bridge_has_the_variance_of_brownian_motion_at_every_date() {
        let model = Model { spot: 1.0, dates: 10, rate: 0.05, volatility: 0.3, step: 0.1 };
        let mut units: Vec<Unit> = (0..100).map(|unit| Unit::new(7, 0, unit, PAIRS)).collect();
        for date in (1..=model.dates).rev() {
            let task = model.task(date, None);
            units.iter_mut().for_each(|unit| unit.sweep(&task));
            let squares: f64 =
                units.iter().flat_map(|unit| &unit.motion).map(|motion| motion * motion).sum();
            let variance = squares / (100 * PAIRS) as f64;
            let expected = 0.09 * model.time(date);
            // Standard deviation of a variance from n normals: sqrt(2 / n) of it, here 0.44 %.
            assert!(
                (variance / expected - 1.0).abs() < 0.02,
                "date {date}: {variance} instead of {expected}"
            );
        }
    }

    #[test]
    fn streams_of_neighbouring_units_are_unrelated() {
        let first = |option, unit| {
            let mut unit = Unit::new(1, option, unit, PAIRS);
            unit.wander(0.0, 1.0);
            unit.motion
        };
        let (a, b, c) = (first(0, 0), first(0, 1), first(1, 0));
        let correlation =
            |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / PAIRS as f64;
        for other in [b, c] {
            assert!(correlation(&a, &other).abs() < 5.0 / (PAIRS as f64).sqrt());
        }
    }
}
