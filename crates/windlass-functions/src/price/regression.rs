//! The regression of one exercise date: sums over the paths, normal equations, the rule for exercising.

/// Highest power of the basis.
pub(super) const DEGREE: usize = 4;
/// Coefficients of the polynomial.
pub(super) const TERMS: usize = DEGREE + 1;
/// Powers in the normal equations: their matrix holds the sums of u^(i+j).
const POWERS: usize = 2 * DEGREE + 1;
/// Paths in the money that each coefficient needs; with fewer the polynomial would follow the noise.
const PATHS_PER_TERM: f64 = 20.0;

/// How the price of the asset, in units of the strike, maps to the variable u of the polynomials, which is about in
/// [-1, 1] for the paths in the money.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    factor: f64,
    shift: f64,
}

impl Scale {
    /// Maps `low` to -1 and `high` to 1.
    pub(super) fn new(low: f64, high: f64) -> Self {
        let factor = 2.0 / (high - low);
        Self { factor, shift: -1.0 - low * factor }
    }

    /// u for a price in units of the strike.
    #[inline(always)]
    pub(super) fn apply(self, price: f64) -> f64 {
        price * self.factor + self.shift
    }
}

/// Sums over paths in the money: of the powers of u, and of the powers times the discounted cash flow y.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    powers: [f64; POWERS],
    flows: [f64; TERMS],
}

impl Moments {
    /// Sums over the paths with variable `u` and cash flow `y`, slices of equal length.
    ///
    /// Two paths side by side, each in its own lane: floating-point sums must not be reordered by the compiler, so
    /// the lanes that SIMD instructions need are spelt out.
    pub(super) fn from_points(u: &[f64], y: &[f64]) -> Self {
        const LANES: usize = 2;
        let mut powers = [[0.0; LANES]; POWERS];
        let mut flows = [[0.0; LANES]; TERMS];
        let mut pass = |u: [f64; LANES], y: [f64; LANES], weight: [f64; LANES]| {
            let mut power = weight;
            for term in 0..POWERS {
                for lane in 0..LANES {
                    powers[term][lane] += power[lane];
                    if term < TERMS {
                        flows[term][lane] += power[lane] * y[lane];
                    }
                    power[lane] *= u[lane];
                }
            }
        };
        let (us, us_left) = u.as_chunks::<LANES>();
        let (ys, ys_left) = y.as_chunks::<LANES>();
        us.iter().zip(ys).for_each(|(u, y)| pass(*u, *y, [1.0; LANES]));
        us_left.iter().zip(ys_left).for_each(|(u, y)| pass([*u, 0.0], [*y, 0.0], [1.0, 0.0]));
        Self {
            powers: powers.map(|lanes| lanes[0] + lanes[1]),
            flows: flows.map(|lanes| lanes[0] + lanes[1]),
        }
    }

    /// Adds the sums over other paths.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, other) in self.powers.iter_mut().zip(other.powers) {
            *sum += other;
        }
        for (sum, other) in self.flows.iter_mut().zip(other.flows) {
            *sum += other;
        }
    }

    /// The coefficients, lowest power first, of the polynomial that fits y best: the normal equations by Cholesky's
    /// method (L D Lᵀ). With few paths, or few different ones, the polynomial is of a lower degree; without paths 0.
    ///
    /// On u in [-1, 1] the matrix has a condition number of some 1e4, so about eleven digits are good; the statistical
    /// error leaves three.
    pub(super) fn fit(&self) -> [f64; TERMS] {
        // A pivot this much smaller than its diagonal element is rounding.
        const SMALLEST_PIVOT: f64 = 1e-11;
        let paths = self.powers[0];
        let mut terms = TERMS.min((paths / PATHS_PER_TERM) as usize).max(usize::from(paths > 0.0));
        let mut lower = [[0.0; TERMS]; TERMS];
        let mut pivots = [0.0; TERMS];
        for row in 0..terms {
            for column in 0..=row {
                let known: f64 =
                    (0..column).map(|k| lower[row][k] * lower[column][k] * pivots[k]).sum();
                let rest = self.powers[row + column] - known;
                if column < row {
                    lower[row][column] = rest / pivots[column];
                } else {
                    lower[row][row] = 1.0;
                    pivots[row] = rest;
                }
            }
            if pivots[row] <= SMALLEST_PIVOT * self.powers[2 * row] {
                terms = row;
                break;
            }
        }
        let mut solution = [0.0; TERMS];
        for row in 0..terms {
            let known: f64 = (0..row).map(|k| lower[row][k] * solution[k]).sum();
            solution[row] = self.flows[row] - known;
        }
        for row in (0..terms).rev() {
            let known: f64 = (row + 1..terms).map(|k| lower[k][row] * solution[k]).sum();
            solution[row] = solution[row] / pivots[row] - known;
        }
        solution
    }
}

/// When to exercise at one date: where the payoff exceeds the fitted value of going on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Factor from the growth of a path to its price in units of the strike.
    pub(super) forward: f64,
    /// Discount factor from this date to today.
    pub(super) discount: f64,
    /// From price to the variable of the polynomial.
    pub(super) scale: Scale,
    /// The polynomial: the value of going on, discounted to today, in units of the strike.
    pub(super) value: [f64; TERMS],
}

impl Policy {
    /// The cash flow of a path, discounted to today: the payoff at `price` if it pays to exercise, else `later`.
    #[inline(always)]
    pub(super) fn choose(&self, price: f64, later: f64) -> f64 {
        let u = self.scale.apply(price);
        let going_on = self.value.iter().rev().fold(0.0, |sum, coefficient| sum * u + coefficient);
        let payoff = (1.0 - price) * self.discount;
        // Out of the money never, whatever the polynomial says there.
        if payoff > going_on.max(0.0) { payoff } else { later }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(count: u32) -> Vec<f64> {
        (0..count)
            .map(|index| -1.0 + 2.0 * f64::from(index) / f64::from(count.max(2) - 1))
            .collect()
    }

    fn fit(u: &[f64], y: impl Fn(f64) -> f64) -> [f64; TERMS] {
        let y: Vec<f64> = u.iter().map(|u| y(*u)).collect();
        Moments::from_points(u, &y).fit()
    }

    fn evaluate(polynomial: [f64; TERMS], u: f64) -> f64 {
        polynomial.iter().rev().fold(0.0, |sum, coefficient| sum * u + coefficient)
    }

    #[test]
    fn a_polynomial_is_found_again() {
        let polynomial = fit(&points(1001), |u| 1.0 - 2.0 * u + 0.5 * u.powi(3) - u.powi(4));
        for (found, want) in polynomial.iter().zip([1.0, -2.0, 0.0, 0.5, -1.0]) {
            assert!((found - want).abs() < 1e-9, "{polynomial:?}");
        }
    }

    #[test]
    fn a_smooth_function_is_fitted_closely() {
        let polynomial = fit(&points(500), f64::exp);
        for u in points(50) {
            assert!((evaluate(polynomial, u) - u.exp()).abs() < 2e-3);
        }
    }

    #[test]
    fn few_paths_give_a_lower_degree() {
        assert_eq!(fit(&[], |_| 1.0), [0.0; TERMS]);
        assert_eq!(fit(&[0.3], |_| 2.0)[..2], [2.0, 0.0]);
        let polynomial = fit(&points(45), |u| 1.0 + u);
        assert!((polynomial[1] - 1.0).abs() < 1e-12 && polynomial[2] == 0.0, "{polynomial:?}");
    }

    #[test]
    fn equal_paths_give_their_mean() {
        let polynomial = fit(&[0.5; 1000], |_| 3.0);
        assert!((evaluate(polynomial, 0.5) - 3.0).abs() < 1e-9, "{polynomial:?}");
        assert!(polynomial.iter().all(|coefficient| coefficient.is_finite()));
    }

    #[test]
    fn sums_do_not_depend_on_whether_the_count_is_even() {
        let u = points(101);
        let y = u.clone();
        let whole = Moments::from_points(&u, &y);
        let mut parts = Moments::from_points(&u[..50], &y[..50]);
        parts.add(&Moments::from_points(&u[50..], &y[50..]));
        for (a, b) in whole.powers.iter().zip(parts.powers) {
            assert!((a - b).abs() < 1e-12);
        }
    }
}
