//! Prices against three judges: the paper's table, a quadrature written only for this test, and closed forms.

use windlass_sdk::rayon;

use super::*;

/// Table 1 of the paper, the finite-difference prices, in the order of the example. They were computed with 40,000 time
/// steps a year; the quadrature below says that they are the prices for 50 exercises a year, not for exercise at any
/// time: it agrees within 0.001 but for the options of high volatility and two years, where the paper has up to 0.006
/// more.
const PAPER: [f64; 20] = [
    4.478, 4.840, 7.101, 8.508, // spot 36
    3.250, 3.745, 6.148, 7.670, // spot 38
    2.314, 2.885, 5.312, 6.920, // spot 40
    1.617, 2.212, 4.582, 6.248, // spot 42
    1.110, 1.690, 3.948, 5.647, // spot 44
];

const EXAMPLE: &str = include_str!("../../../../examples/longstaff-schwartz.json");

fn example() -> Portfolio {
    windlass_sdk::parse_input(EXAMPLE.as_bytes()).unwrap()
}

fn put(spot: f64, volatility: f64, maturity_years: f64) -> PutOption {
    PutOption {
        spot,
        strike: 40.0,
        rate: 0.06,
        volatility,
        maturity_years,
        exercises_per_year: 50.0,
    }
}

/// Runs on a pool of its own, as in a process with this many CPUs.
fn price_on(threads: usize, portfolio: &Portfolio) -> Vec<Price> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| price(portfolio.clone(), &Run::detached(threads))).unwrap().prices
}

fn price_one(option: PutOption, paths: u64) -> Price {
    price_on(1, &Portfolio { options: vec![option], paths, seed: 3 })[0]
}

/// The same Bermudan put without any simulation: from one exercise date to the one before, the value is its
/// expectation under the normal density of the log price, integrated with the trapezoidal rule on a fine grid
/// (quadrature between exercise dates: Andricopoulos et al. 2003). The density is smooth and falls to nothing within
/// the sum, so the only error is that of the kinks, of second order in the grid: below 1e-4 here.
fn quadrature(option: &PutOption) -> f64 {
    let dates = (option.maturity_years * option.exercises_per_year).round() as usize;
    let dt = option.maturity_years / dates as f64;
    let deviation = option.volatility * dt.sqrt();
    let drift = (option.rate - 0.5 * option.volatility.powi(2)) * dt;
    let h = deviation / 20.0;
    let reach = 160; // eight standard deviations
    let half = (7.0 * option.volatility * option.maturity_years.sqrt() / h) as usize + reach;
    let price = |index: usize| option.spot * ((index as f64 - half as f64) * h).exp();
    let payoff = |index: usize| (option.strike - price(index)).max(0.0);
    let density = |steps: isize| {
        let z = (steps as f64 * h - drift) / deviation;
        (-0.5 * z * z).exp() * h / (deviation * (2.0 * std::f64::consts::PI).sqrt())
            * (-option.rate * dt).exp()
    };
    let weights: Vec<f64> = (-(reach as isize)..=reach as isize).map(density).collect();
    let size = 2 * half + 1;
    let mut value: Vec<f64> = (0..size).map(payoff).collect();
    for date in (0..dates).rev() {
        let going_on: Vec<f64> = (reach..size - reach)
            .map(|index| {
                value[index - reach..=index + reach]
                    .iter()
                    .zip(&weights)
                    .map(|(v, w)| v * w)
                    .sum::<f64>()
            })
            .collect();
        for (index, going_on) in (reach..size - reach).zip(going_on) {
            // Today there is nothing to decide in the judge: all options of the table are worth more alive.
            value[index] = if date == 0 { going_on } else { going_on.max(payoff(index)) };
        }
        // Beyond the grid's inner part: deep in the money the payoff, far out of it nothing; never reached by the
        // spot within seven standard deviations.
    }
    value[half]
}

#[test]
fn the_table_of_the_paper_is_met_within_three_standard_errors() {
    let prices = price_on(2, &example());
    for (row, (price, paper)) in prices.iter().zip(PAPER).enumerate() {
        let z = (price.price - paper) / price.standard_error;
        assert!(
            z.abs() < 3.0,
            "row {row}: {price:?}, the paper has {paper}, {z:.2} standard errors"
        );
        assert!(price.standard_error < 0.02, "row {row}: {price:?}");
    }
}

#[test]
fn a_quadrature_gives_the_same_prices_within_three_standard_errors() {
    let portfolio = example();
    let prices = price_on(2, &portfolio);
    for (option, price) in portfolio.options.iter().zip(prices) {
        let exact = quadrature(option);
        let z = (price.price - exact) / price.standard_error;
        assert!(z.abs() < 3.0, "{option:?}: {price:?} but {exact:.4}, {z:.2} standard errors");
    }
}

/// How the estimator errs, over many seeds: `cargo test --release -p windlass-functions -- --ignored --nocapture`.
#[test]
#[ignore = "a minute of computing; prints the distribution of the errors"]
fn errors_over_many_seeds_look_normal() {
    const SEEDS: u64 = 100;
    let portfolio = example();
    let exact: Vec<f64> = portfolio.options.iter().map(quadrature).collect();
    let runs: Vec<Vec<Price>> =
        (0..SEEDS).map(|seed| price_on(2, &Portfolio { seed, ..portfolio.clone() })).collect();
    let mut all = Vec::new();
    println!(
        "spot vol  T   paper  quadrature  mean     bias  (se of it)   se      mean z   sd z   |z|>3"
    );
    for (row, option) in portfolio.options.iter().enumerate() {
        let prices: Vec<Price> = runs.iter().map(|run| run[row]).collect();
        let zs: Vec<f64> =
            prices.iter().map(|p| (p.price - exact[row]) / p.standard_error).collect();
        let n = SEEDS as f64;
        let mean = prices.iter().map(|p| p.price).sum::<f64>() / n;
        let error = prices.iter().map(|p| p.standard_error).sum::<f64>() / n;
        let mean_z = zs.iter().sum::<f64>() / n;
        let sd_z = (zs.iter().map(|z| (z - mean_z).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        println!(
            "{} {:.1} {} {:8.3} {:9.4} {mean:9.4} {:+9.4} ({:.4}) {error:8.4} {mean_z:+8.2} {sd_z:6.2} {:4}",
            option.spot,
            option.volatility,
            option.maturity_years,
            PAPER[row],
            exact[row],
            mean - exact[row],
            error / n.sqrt(),
            zs.iter().filter(|z| z.abs() > 3.0).count(),
        );
        all.extend(zs);
    }
    let n = all.len() as f64;
    let mean = all.iter().sum::<f64>() / n;
    let beyond = |bound: f64| all.iter().filter(|z| z.abs() > bound).count();
    println!("{n} z-scores: mean {mean:+.3}, |z| > 2: {}, |z| > 3: {}", beyond(2.0), beyond(3.0));
    // Of 2000 normal scores 91 exceed 2 and five exceed 3.
    assert!(mean.abs() < 0.3 && beyond(2.0) < 150 && beyond(3.0) < 20);
}

#[test]
fn every_parallelism_gives_the_same_bits() {
    // 5000 pairs: the last unit is not full. Several options, so that batches differ with the parallelism.
    let mut portfolio = example();
    portfolio.paths = 10_000;
    let expected = price_on(1, &portfolio);
    for threads in [2, 3, 5, 8, 64] {
        assert_eq!(price_on(threads, &portfolio), expected, "{threads} threads");
    }
}

#[test]
fn an_option_is_priced_the_same_alone_and_as_the_first_of_many() {
    let mut portfolio = example();
    portfolio.paths = 4000;
    let all = price_on(2, &portfolio);
    portfolio.options.truncate(1);
    assert_eq!(price_on(2, &portfolio)[0], all[0]);
}

#[test]
fn with_one_date_the_price_is_that_of_black_and_scholes() {
    // N(-d2) K exp(-rT) - N(-d1) S for S = 40, K = 40, r = 0.06, sigma = 0.2, T = 1: 2.0664.
    let option = PutOption { exercises_per_year: 1.0, ..put(40.0, 0.2, 1.0) };
    let price = price_one(option, 400_000);
    assert!((price.price - 2.0664).abs() < 3.0 * price.standard_error, "{price:?}");
}

#[test]
fn deep_in_the_money_it_pays_to_exercise_at_once() {
    let price = price_one(put(10.0, 0.2, 1.0), 10_000);
    assert_eq!(price, Price { price: 30.0, standard_error: 0.0 });
}

#[test]
fn far_out_of_the_money_it_is_worth_nothing() {
    let price = price_one(put(4000.0, 0.2, 1.0), 10_000);
    assert_eq!(price, Price { price: 0.0, standard_error: 0.0 });
}

#[test]
fn prices_scale_with_the_currency() {
    let small = price_one(put(40.0, 0.2, 1.0), 2000);
    let large = PutOption { spot: 4e6, strike: 4e6, ..put(40.0, 0.2, 1.0) };
    let large = price_one(large, 2000);
    assert!((large.price / small.price / 1e5 - 1.0).abs() < 1e-12);
}

#[test]
fn the_corners_of_the_schema_give_finite_prices() {
    for volatility in [0.001, 5.0] {
        for maturity_years in [0.001, 30.0] {
            for rate in [-0.5, 0.0, 1.0] {
                for (spot, strike) in [(1e-6, 1e9), (1e9, 1e-6), (1.0, 1.0)] {
                    let option = PutOption {
                        spot,
                        strike,
                        rate,
                        volatility,
                        maturity_years,
                        exercises_per_year: 10.0,
                    };
                    let price = price_one(option.clone(), 2000);
                    let fine = price.price.is_finite()
                        && price.standard_error.is_finite()
                        && price.price >= 0.0;
                    assert!(fine, "{option:?}: {price:?}");
                }
            }
        }
    }
}

#[test]
fn the_fewest_paths_work() {
    assert!(price_one(put(36.0, 0.2, 1.0), 2).price >= 4.0);
}

#[test]
fn values_out_of_range_are_blamed_by_their_pointer() {
    let refused = |change: fn(&mut Portfolio)| {
        let mut portfolio = example();
        change(&mut portfolio);
        let error = price(portfolio, &Run::detached(1)).unwrap_err();
        assert!(error.is_bad_input());
        error.to_string()
    };
    for (change, pointer) in [
        ((|p| p.paths = 3) as fn(&mut Portfolio), "/paths:"),
        (|p| p.paths = 0, "/paths:"),
        (|p| p.paths = 20_000_000, "/paths:"),
        (|p| p.options.clear(), "/options:"),
        (|p| p.options[3].volatility = 0.0, "/options/3/volatility:"),
        (|p| p.options[0].spot = f64::NAN, "/options/0/spot:"),
        (|p| p.options[2].rate = f64::INFINITY, "/options/2/rate:"),
        (|p| p.options[19].exercises_per_year = 3650.0, "/options/19:"),
    ] {
        let message = refused(change);
        assert!(message.starts_with(&format!("bad input at {pointer}")), "{message}");
    }
}

#[test]
fn progress_ends_complete_and_a_stopped_run_ends_early() {
    let mut portfolio = example();
    portfolio.paths = 4000;
    let run = Run::detached(1);
    price(portfolio.clone(), &run).unwrap();
    assert_eq!(run.progress().done(), run.progress().total());
    // 10 options of 50 dates and 10 of 100, each with maturity's or today's sweep more, 2 units each.
    assert_eq!(run.progress().total(), 2 * (10 * 51 + 10 * 101));
    run.stop();
    assert!(price(portfolio, &run).unwrap_err().is_cancelled());
}
