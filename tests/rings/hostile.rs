//! Bytes that nobody should send, for each parser of the core and that of forms: twenty thousand of each, made of good
//! ones by chance. Nothing panics, and what is taken is within its bounds. `tests/run fuzz` searches the same parsers,
//! with the same good ones.

use std::hash::{BuildHasher as _, RandomState};

use super::support::checkout;

#[allow(unreachable_pub, reason = "a library of its own for libFuzzer")]
#[path = "../fuzz/parsers.rs"]
mod parsers;

/// How many of each; `tests/run hostile` takes two million.
fn each() -> u64 {
    std::env::var("WINDLASS_HOSTILE").ok().and_then(|each| each.parse().ok()).unwrap_or(20_000)
}

/// Makes bytes of good ones. Its seed is printed, so that a failure can be had again.
struct Mutator(u64);

impl Mutator {
    fn start(what: &str) -> Self {
        let given = std::env::var("WINDLASS_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(what));
        println!("{what}: WINDLASS_SEED={seed}");
        Self(seed)
    }

    /// A number below `below` (splitmix64).
    fn number(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below.max(1) as u64) as usize
    }

    fn bytes(&mut self, good: &[Vec<u8>]) -> Vec<u8> {
        const PIECES: [&[u8]; 10] = [
            b"{",
            b"[",
            b"\"",
            b"\\u0000",
            b"9999999999999999999999",
            b"-1",
            b"1e999",
            b"\xff",
            b"null",
            b"\0",
        ];
        let mut bytes = good[self.number(good.len())].clone();
        for _ in 0..=self.number(6) {
            let at = self.number(bytes.len() + 1);
            match self.number(5) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] = self.number(256) as u8,
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => {
                    let end = at + self.number(bytes.len() + 1 - at);
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                _ => {
                    let piece = PIECES[self.number(PIECES.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
        }
        bytes
    }
}

/// Damages the good documents in `tests/fuzz/seeds/{name}`, which the parser takes.
fn damage(name: &str, taken: fn(&[u8]) -> bool) {
    let seeds = checkout().join("tests/fuzz/seeds").join(name);
    let mut files: Vec<_> =
        std::fs::read_dir(&seeds).unwrap().map(|entry| entry.unwrap().path()).collect();
    // In one order everywhere, or the seed would not make the same bytes.
    files.sort();
    let good: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    for (file, good) in files.iter().zip(&good) {
        assert!(taken(good), "{} is not taken", file.display());
    }
    let mut mutator = Mutator::start(name);
    for _ in 0..each() {
        taken(&mutator.bytes(&good));
    }
}

/// A test for each parser, which has the name of its seeds.
macro_rules! each_parser {
    ($($test:ident: $parser:ident;)*) => {$(
        #[test]
        fn $test() {
            damage(stringify!($parser), parsers::$parser);
        }
    )*};
}

each_parser! {
    no_submission_breaks_its_parser: submission;
    no_report_breaks_its_parser: report;
    no_termination_message_breaks_its_parser: termination_message;
    no_progress_line_breaks_its_parser: progress_line;
    no_quantity_breaks_its_parser: quantity;
    no_idempotency_key_breaks_its_parser: idempotency_key;
    no_name_of_a_blob_breaks_its_parser: blob_name;
    no_form_breaks_its_parser: form;
}
