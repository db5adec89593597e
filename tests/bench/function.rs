//! The native function: the units of one request, one after another, over exactly as many threads as were granted.
//!
//! As a function of Windlass it follows the worker contract: version 2 where it is to serve, else version 1. For
//! HyperQueue, which has no contract, the same comes as arguments: SEED UNITS STEPS THREADS OUTPUT.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
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
    if let Ok(socket) = std::env::var("WINDLASS_SERVE") {
        return serve(UnixStream::connect(socket).expect("the worker listens"));
    }
    let threads = number(&variable("WINDLASS_PARALLELISM"));
    let result = result_of(&variable("WINDLASS_INPUT"), threads);
    std::fs::write(variable("WINDLASS_OUTPUT"), result).expect("the output is written");
}

/// One job after another, until the worker closes the socket.
fn serve(mut socket: UnixStream) {
    let lines = BufReader::new(socket.try_clone().expect("a second handle"));
    socket.write_all(b"{\"ready\":2}\n").expect("the worker reads");
    for line in lines.lines() {
        let line = line.expect("a job");
        let result = result_of(text(&line, "input"), field(&line, "parallelism")).replace('"', "\\\"");
        let answer = format!("{{\"done\":\"{}\",\"result\":\"{result}\"}}\n", text(&line, "job"));
        socket.write_all(answer.as_bytes()).expect("the worker reads");
    }
}

/// One job, from the file of its input to its result.
fn result_of(input: &str, threads: u64) -> String {
    let input = std::fs::read_to_string(input).expect("the input is read");
    let answer =
        compute(field(&input, "seed"), field(&input, "units"), field(&input, "steps"), threads);
    // A string: not every JSON reader keeps 64 bits.
    format!("{{\"value\":\"{answer}\"}}")
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
    let digits = value(json, name);
    number(&digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())])
}

/// A string without escapes of such an object.
fn text<'a>(json: &'a str, name: &str) -> &'a str {
    let text = value(json, name).strip_prefix('"').expect("a string");
    &text[..text.find('"').expect("its end")]
}

/// What follows a name.
fn value<'a>(json: &'a str, name: &str) -> &'a str {
    let key = format!("\"{name}\":");
    let after = &json[json.find(&key).expect("the field is there") + key.len()..];
    after.trim_start_matches(' ')
}

fn number(text: &str) -> u64 {
    text.parse().expect("a whole number")
}
