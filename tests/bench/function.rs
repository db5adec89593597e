//! The native function: the units of one request, one after another, over exactly as many threads as were granted.
//!
//! As a function of Windlass it reads the worker contract's variables. For HyperQueue, which has no contract, the same
//! comes as arguments: SEED UNITS STEPS THREADS OUTPUT.

use std::sync::atomic::{AtomicU64, Ordering};

mod kernel;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [seed, units, steps, threads, output] = &arguments[..] {
        let answer = compute(number(seed), number(units), number(steps), number(threads));
        std::fs::write(output, answer.to_string()).expect("the output is written");
        return;
    }
    let variable = |name| std::env::var(name).expect(name);
    let input = std::fs::read_to_string(variable("WINDLASS_INPUT")).expect("the input is read");
    let threads = number(&variable("WINDLASS_PARALLELISM"));
    let answer =
        compute(field(&input, "seed"), field(&input, "units"), field(&input, "steps"), threads);
    // A string: not every JSON reader keeps 64 bits.
    std::fs::write(variable("WINDLASS_OUTPUT"), format!("{{\"value\":\"{answer}\"}}"))
        .expect("the output is written");
}

/// This thread is one of the `threads`.
fn compute(seed: u64, units: u64, steps: u64, threads: u64) -> u64 {
    let next = AtomicU64::new(0);
    let work = || {
        let mut sum = 0_u64;
        loop {
            let unit = next.fetch_add(1, Ordering::Relaxed);
            if unit >= units {
                return sum;
            }
            sum = sum.wrapping_add(kernel::bench_range(seed, unit, unit + 1, steps));
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&work)).collect();
        let own = work();
        others.into_iter().fold(own, |sum, other| sum.wrapping_add(other.join().expect("no panic")))
    })
}

/// A whole number of a flat JSON object; no dependency for three of them.
fn field(json: &str, name: &str) -> u64 {
    let key = format!("\"{name}\"");
    let after = &json[json.find(&key).expect("the field is there") + key.len()..];
    let digits = after.trim_start_matches([':', ' ']);
    number(&digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())])
}

fn number(text: &str) -> u64 {
    text.parse().expect("a whole number")
}
