//! The work of every request of the benchmark, compiled once as a library for Python and once into the native function.
//!
//! A request is `units` units of `steps` steps. A unit depends on nothing but the seed and its number, and units are
//! added up, so that the answer does not depend on how a system has split the request.

/// One unit: a chain of xorshift steps, each of which waits for the one before.
fn unit(seed: u64, number: u64, steps: u64) -> u64 {
    let mut x = (seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1;
    let mut sum = 0_u64;
    for _ in 0..steps {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        sum = sum.wrapping_add(x);
    }
    sum
}

/// The units from `first` to before `last`, added up.
#[no_mangle]
pub extern "C" fn bench_range(seed: u64, first: u64, last: u64, steps: u64) -> u64 {
    (first..last).fold(0, |sum, number| sum.wrapping_add(unit(seed, number, steps)))
}
