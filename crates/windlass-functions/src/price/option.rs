//! An American put option.

use schemars::JsonSchema;
use serde::Deserialize;
use windlass_sdk::Error;

/// Most exercise dates of one option: ten years of days.
const MAX_DATES: f64 = 3650.0;

/// One American put option on an asset without dividends, whose price is a geometric Brownian motion.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutOption {
    /// Price of the asset today, in the currency of the strike.
    #[schemars(range(min = 1e-6, max = 1e9))]
    pub spot: f64,
    /// Price at which the holder may sell the asset.
    #[schemars(range(min = 1e-6, max = 1e9))]
    pub strike: f64,
    /// Riskless interest rate, continuously compounded, a year: 0.06 is 6 %.
    #[schemars(range(min = -0.5, max = 1.0))]
    pub rate: f64,
    /// Volatility of the asset's returns, the square root of a year: 0.2 is 20 %.
    #[schemars(range(min = 0.001, max = 5.0))]
    pub volatility: f64,
    /// Years until the option expires.
    #[schemars(range(min = 0.001, max = 30.0))]
    pub maturity_years: f64,
    /// Dates a year, equally spaced up to and including maturity, at which the holder may exercise. Their number,
    /// `maturityYears * exercisesPerYear`, is rounded to a whole one; at least 1, at most 3650.
    #[schemars(range(min = 1.0, max = 3650.0))]
    pub exercises_per_year: f64,
}

impl PutOption {
    pub(super) fn validate(&self, index: usize) -> Result<(), Error> {
        let Self { spot, strike, rate, volatility, maturity_years, exercises_per_year } = *self;
        for (name, value, min, max) in [
            ("spot", spot, 1e-6, 1e9),
            ("strike", strike, 1e-6, 1e9),
            ("rate", rate, -0.5, 1.0),
            ("volatility", volatility, 0.001, 5.0),
            ("maturityYears", maturity_years, 0.001, 30.0),
            ("exercisesPerYear", exercises_per_year, 1.0, 3650.0),
        ] {
            // Not a number is in no range.
            if !(min..=max).contains(&value) {
                return Err(Error::bad_input(
                    format!("/options/{index}/{name}"),
                    format!("is {value}, must be from {min} to {max}"),
                ));
            }
        }
        if (maturity_years * exercises_per_year).round() > MAX_DATES {
            return Err(Error::bad_input(
                format!("/options/{index}"),
                format!("maturityYears * exercisesPerYear must be at most {MAX_DATES}"),
            ));
        }
        Ok(())
    }
}
