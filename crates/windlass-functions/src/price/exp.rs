//! The exponential function in a form that compilers turn into SIMD instructions.

use std::f64::consts::{LN_2, LOG2_E};

/// e to the power of `x`, for |x| <= 700, to a relative error below 1e-13.
///
/// The library's `exp` is a call for each number, which keeps a loop from being vectorized. As usual:
/// e^x = 2^k e^r with k the nearest integer to x / ln 2, hence |r| <= ln 2 / 2, and the Taylor series of e^r to the
/// 11th power, whose next term is below 7e-15.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    /// 1.5 * 2^52: adding it rounds to an integer, which then is in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts, the first with few digits, so that k times it is exact.
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const _: () = assert!(LN_2_HIGH + LN_2_LOW == LN_2);

    let rounded = x * LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let series = [
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let fraction = series.iter().fold(0.0, |sum, coefficient| sum * r + coefficient);
    let power = f64::from_bits((rounded.to_bits() << 52).wrapping_add(1023 << 52));
    fraction * power
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn it_agrees_with_the_library() {
        for step in -70_000..=70_000 {
            let x = f64::from(step) * 0.01 + 0.000_123;
            let x = x.clamp(-700.0, 700.0);
            let error = (exp(x) / x.exp() - 1.0).abs();
            assert!(error < 1e-13, "exp({x}): relative error {error:e}");
        }
        assert_eq!(exp(0.0), 1.0);
    }
}
