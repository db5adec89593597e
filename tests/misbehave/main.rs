//! A function that fails in every way that a function can, for the tests of a cluster, whose images
//! have no shell. The input says how: `{"mode": "crash"}`. Where that is no JSON, the command says it:
//! `misbehave sees`.

#![expect(clippy::print_stderr, reason = "what it says on stderr is part of the test")]

mod inputs;

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{ExitCode, abort};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use windlass_core::contract;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let output = variable(contract::OUTPUT);
    if let Some(mode) = std::env::args().nth(1) {
        return match inputs::run(&mode, &output) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(3)
            }
        };
    }
    let input = fs::read(variable(contract::INPUT)).unwrap_or_default();
    let input: Value = serde_json::from_slice(&input).unwrap_or_default();
    eprintln!("about to {}", input["mode"]);
    match input["mode"].as_str().unwrap_or_default() {
        "crash" => ExitCode::from(3),
        "bad-input" => ExitCode::from(contract::EXIT_BAD_INPUT),
        // Has computed a JSON string of so many characters when it raises an error.
        "raise" => {
            let characters = input["characters"].as_u64().unwrap_or(0) as usize;
            write(&output, format!("\"{}\"", "y".repeat(characters)).as_bytes());
            ExitCode::from(contract::EXIT_FUNCTION_ERROR)
        }
        // SIGABRT: ended by a signal that nobody of Windlass sent.
        "abort" => abort(),
        "no-output" => ExitCode::SUCCESS,
        // All zeros, which take no memory.
        "too-large" => match File::create(&output).and_then(|file| file.set_len(25 << 20)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        "bytes" => {
            let bytes = input["bytes"].as_u64().unwrap_or(0) as usize;
            write(&output, &vec![b'y'; bytes])
        }
        "not-text" => write(&output, &[0, 159, 146, 150]),
        // Says what is no text, burns its CPUs, tells progress, and ends itself only by SIGTERM's default.
        "spin" => {
            if std::io::stderr().write_all(b"\xff\xfe\n").is_err() {
                return ExitCode::FAILURE;
            }
            let threads = variable(contract::PARALLELISM).parse().unwrap_or(1);
            for _ in 1..threads {
                std::thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
            }
            let progress = variable(contract::PROGRESS);
            for done in 0..1_000_000_u64 {
                let line = contract::progress_line(done, 1_000_000, "spinning");
                if fs::write(&progress, line).is_err() {
                    return ExitCode::FAILURE;
                }
                sleep(Duration::from_millis(50));
            }
            write(&output, b"{}")
        }
        // Runs for so long and says nothing.
        "linger" => {
            sleep(Duration::from_millis(input["milliseconds"].as_u64().unwrap_or(0)));
            write(&output, b"{}")
        }
        // Prints a line each tenth of a second.
        "talk" => {
            let lines = input["lines"].as_u64().unwrap_or(0);
            for line in 0..lines {
                eprintln!("line {line} of {lines}");
                sleep(Duration::from_millis(100));
            }
            write(&output, b"said")
        }
        // Tells the time of each progress line as its message, for a minute.
        "tell" => {
            let progress = variable(contract::PROGRESS);
            let Ok(mut file) = File::options().append(true).open(&progress) else {
                return ExitCode::FAILURE;
            };
            for done in 0..400_u64 {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let line = contract::progress_line(done, 400, &now.as_nanos().to_string());
                if file.write_all(line.as_bytes()).is_err() {
                    return ExitCode::FAILURE;
                }
                sleep(Duration::from_millis(130 + done % 40));
            }
            write(&output, b"{}")
        }
        other => {
            eprintln!("there is no mode {other:?}");
            ExitCode::FAILURE
        }
    }
}

fn write(path: &str, bytes: &[u8]) -> ExitCode {
    match fs::write(path, bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
