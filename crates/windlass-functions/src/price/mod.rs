//! `price`: American put options by least-squares Monte Carlo.
//!
//! The method is that of Longstaff & Schwartz, "Valuing American Options by Simulation: A Simple Least-Squares
//! Approach", The Review of Financial Studies 14 (2001), pages 113-147. Simulate paths of the asset's price under the
//! risk-neutral measure; walk back from maturity; at each exercise date regress the cash flows that the paths realize
//! later, discounted, on the price of the asset at this date, over the paths that are in the money only; exercise
//! where the payoff exceeds the fitted value of going on. The price is the mean of the discounted cash flows.
//!
//! Where this differs from the paper, and why:
//! - Basis: powers up to 4 of the price of the asset, in units of the strike and mapped to about [-1, 1], in place of
//!   a constant and three weighted Laguerre polynomials, which without their weight span the powers up to 2. The
//!   paper itself finds that the choice hardly matters and that powers do; this scale keeps the normal equations well
//!   conditioned. As in the paper the same paths give the rule and the price, which errs upwards, the more so the
//!   larger the basis; a basis too small errs downwards. Against exact prices of the paper's 20 options, over 100
//!   seeds: degree 3 errs by -0.18 standard errors in the mean, 4 by +0.10, 5 by +0.20. The errors of degree 4 have a
//!   variance of 1.04 squared standard errors (`errors_over_many_seeds_look_normal` in the tests).
//! - Standard error: from the means of antithetic pairs, which are independent; the two paths of a pair are not.
//! - An option may also be exercised at once: a price is never below the payoff today.
//!
//! Paths are made backwards, from maturity to today, by a Brownian bridge. So only the present date is in memory, 16
//! bytes for a path, whatever the number of dates; 100 dates of 100,000 paths would be 80 MB for each option.
//!
//! The work of one date for 1024 pairs of paths is a unit. All units of a date run in parallel, for
//! several options at once, so one option uses many CPUs and many options wait for each other rarely. A unit has its
//! own random stream, and sums are added up in the order of the units: results are the same to the last bit for
//! every parallelism.

mod exp;
mod option;
mod paths;
mod regression;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_sdk::rayon::prelude::*;
use windlass_sdk::{Error, Run};

pub use option::PutOption;
use paths::{Model, Task, Unit};
use regression::{Moments, Policy};

/// Most options in one request.
const MAX_OPTIONS: usize = 1000;
/// Most paths of one option: 160 MB.
const MAX_PATHS: u64 = 10_000_000;
/// Units of a date per thread that make waiting for the slowest of them cheap (a unit takes about 12 microseconds,
/// so at most 1 / 64 of the time is lost), and that still fit into a cache of 2 MiB per thread.
const UNITS_PER_THREAD: usize = 64;

/// American put options to price.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Portfolio {
    /// The options; prices come back in this order.
    #[schemars(length(min = 1, max = MAX_OPTIONS))]
    pub options: Vec<PutOption>,
    /// Paths to simulate for each option, an even number: half of them are the mirror images of the others. The
    /// standard error falls with the square root, the time grows in proportion.
    #[schemars(range(min = 2, max = MAX_PATHS), extend("multipleOf" = 2))]
    pub paths: u64,
    /// Seed of the random numbers. The same input gives the same prices to the last bit, for every parallelism.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub seed: u64,
}

/// What the options are worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prices {
    /// One for each option, in the order of the input.
    pub prices: Vec<Price>,
}

/// What one option is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// The price, in the currency of the strike.
    pub price: f64,
    /// Its statistical error, one standard deviation, in the same currency. 0 when it pays to exercise at once.
    pub standard_error: f64,
}

impl Portfolio {
    /// Everything the schema says, and the number of dates, which it cannot say.
    fn validate(&self) -> Result<(), Error> {
        if self.options.is_empty() || self.options.len() > MAX_OPTIONS {
            return Err(Error::bad_input(
                "/options",
                format!("must have 1 to {MAX_OPTIONS} elements"),
            ));
        }
        if self.paths < 2 || self.paths > MAX_PATHS || !self.paths.is_multiple_of(2) {
            return Err(Error::bad_input(
                "/paths",
                format!("must be an even number from 2 to {MAX_PATHS}"),
            ));
        }
        self.options.iter().enumerate().try_for_each(|(index, option)| option.validate(index))
    }
}

/// Prices all options.
///
/// # Errors
/// Bad input when a field is out of its range; cancelled when the run was asked to stop.
pub fn price(portfolio: Portfolio, run: &Run) -> Result<Prices, Error> {
    portfolio.validate()?;
    // The path count was bounded above.
    let pairs = (portfolio.paths / 2) as usize;
    let models: Vec<Model> = portfolio.options.iter().map(Model::new).collect();

    let units_per_option = pairs.div_ceil(paths::PAIRS);
    let rounds: u64 = models.iter().map(|model| model.dates as u64 + 1).sum();
    run.progress().set_total(rounds * units_per_option as u64);

    // Options with equally many dates go together, so that all of a batch end together.
    let mut order: Vec<usize> = (0..models.len()).collect();
    order.sort_by_key(|&index| models[index].dates);
    let batch = (UNITS_PER_THREAD * run.parallelism()).div_ceil(units_per_option);

    let mut prices = vec![None; models.len()];
    for (begun, batch) in (0..).step_by(batch).zip(order.chunks(batch)) {
        run.progress().message(format!("{begun} of {} options priced", models.len()));
        let walks =
            batch.iter().map(|&index| Walk::new(models[index], index, portfolio.seed, pairs));
        for (&index, value) in batch.iter().zip(walk_back(walks.collect(), run)?) {
            prices[index] = Some(value.in_currency(portfolio.options[index].strike));
        }
    }
    let prices =
        prices.into_iter().map(|price| price.expect("every option is in one batch")).collect();
    Ok(Prices { prices })
}

/// One option on its way from maturity to today.
struct Walk {
    model: Model,
    units: Vec<Unit>,
    /// When to exercise at the date before, which the next sweep carries out.
    policy: Option<Policy>,
}

impl Walk {
    fn new(model: Model, option: usize, seed: u64, pairs: usize) -> Self {
        let count = pairs.div_ceil(paths::PAIRS);
        let size = |unit: usize| paths::PAIRS.min(pairs - unit * paths::PAIRS);
        let units = (0..count).map(|unit| Unit::new(seed, option, unit, size(unit))).collect();
        Self { model, units, policy: None }
    }
}

/// Walks all options back to today, date by date. Returns their values in units of the strike.
fn walk_back(mut walks: Vec<Walk>, run: &Run) -> Result<Vec<Value>, Error> {
    let rounds = walks.iter().map(|walk| walk.model.dates + 1).max().unwrap_or(0);
    for round in 0..rounds {
        let work: Vec<(Task, &mut Unit)> = walks
            .iter_mut()
            .filter(|walk| round <= walk.model.dates)
            .flat_map(|walk| {
                let task = walk.model.task(walk.model.dates - round, walk.policy);
                walk.units.iter_mut().map(move |unit| (task, unit))
            })
            .collect();
        // Every unit can be stolen: left to itself rayon stops splitting early, and the last piece is waited for.
        work.into_par_iter().with_max_len(1).try_for_each(|(task, unit)| {
            run.check()?;
            unit.sweep(&task);
            run.progress().add(1);
            Ok::<(), Error>(())
        })?;
        for walk in walks.iter_mut().filter(|walk| round <= walk.model.dates) {
            let mut sums = Moments::default();
            walk.units.iter().for_each(|unit| sums.add(&unit.moments));
            walk.policy = (round > 0 && round < walk.model.dates).then(|| {
                let date = walk.model.dates - round;
                walk.model.policy(date, &sums)
            });
        }
    }
    Ok(walks.iter().map(Value::from_walk).collect())
}

/// A value in units of the strike.
struct Value {
    mean: f64,
    standard_error: f64,
}

impl Value {
    /// The mean over all pairs, or the payoff today if that is more.
    fn from_walk(walk: &Walk) -> Self {
        let mut pairs = paths::Sample::default();
        walk.units.iter().for_each(|unit| pairs.add(&unit.values));
        let payoff = 1.0 - walk.model.spot;
        if payoff >= pairs.mean {
            return Self { mean: payoff.max(0.0), standard_error: 0.0 };
        }
        Self { mean: pairs.mean, standard_error: pairs.standard_error() }
    }

    fn in_currency(&self, strike: f64) -> Price {
        Price { price: self.mean * strike, standard_error: self.standard_error * strike }
    }
}
