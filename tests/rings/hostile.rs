//! Bytes that nobody should send, for each parser of the core: twenty thousand of each, made of good ones by
//! chance. Nothing panics, and what is taken is within its bounds.

use std::hash::{BuildHasher as _, RandomState};

use windlass_core::assignment::read_termination_message;
use windlass_core::contract::parse_progress_line;
use windlass_core::idempotency::Key;
use windlass_core::{JobSpec, Report, parse, quantity};

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

    fn bytes(&mut self, good: &[&[u8]]) -> Vec<u8> {
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
        let mut bytes = good[self.number(good.len())].to_vec();
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

    fn text(&mut self, good: &[&[u8]]) -> String {
        String::from_utf8_lossy(&self.bytes(good)).into_owned()
    }
}

#[test]
fn no_submission_breaks_its_parser() {
    let good: [&[u8]; 2] = [
        br#"{"function":"price","parallelism":2,"input":{"a":[1,{"b":"c"}]},"queue":"q","priority":1}"#,
        br#"{"function":"f","minParallelism":1,"retries":3,"timeoutSeconds":60,"cancel":false}"#,
    ];
    assert!(good.iter().all(|good| parse::json::<JobSpec>(good).is_ok()));
    let mut mutator = Mutator::start("submission");
    for _ in 0..each() {
        let bytes = mutator.bytes(&good);
        drop(parse::json::<JobSpec>(&bytes));
    }
}

#[test]
fn no_report_breaks_its_parser() {
    let good: [&[u8]; 3] = [
        br#"{"jobUid":"u","attempt":1,"event":{"progress":{"done":1,"total":2,"message":"m","elapsedSeconds":1.5}}}"#,
        br#"{"jobUid":"u","attempt":1,"event":{"finished":{"outcome":{"succeeded":{"bytes":2,"contentType":"a/b","sha256":"00","text":"{}"}},"started":"1970-01-01T00:00:00Z","finished":"1970-01-01T00:00:00Z","parallelism":2}}}"#,
        br#"{"jobUid":"u","attempt":1,"event":{"running":{"started":"1970-01-01T00:00:00Z","running":"1970-01-01T00:00:01Z","processGroup":7}}}"#,
    ];
    for good in good {
        parse::json::<Report>(good).unwrap();
    }
    let mut mutator = Mutator::start("report");
    for _ in 0..each() {
        drop(parse::json::<Report>(&mutator.bytes(&good)));
    }
}

#[test]
fn no_termination_message_breaks_its_parser() {
    let good: [&[u8]; 2] = [
        br#"{"outcome":{"succeeded":{"bytes":2,"contentType":"a/b","sha256":"00","text":"{}"}},"started":"1970-01-01T00:00:00Z","finished":"1970-01-01T00:00:00Z","parallelism":2}"#,
        br#"{"outcome":{"failed":{"reason":"Crashed","message":"m"}},"started":"1970-01-01T00:00:00Z","finished":"1970-01-01T00:00:00Z","parallelism":2}"#,
    ];
    for good in good {
        assert!(read_termination_message(std::str::from_utf8(good).unwrap()).is_some());
    }
    let mut mutator = Mutator::start("termination message");
    for _ in 0..each() {
        drop(read_termination_message(&mutator.text(&good)));
    }
}

#[test]
fn no_progress_line_breaks_its_parser() {
    let mut mutator = Mutator::start("progress line");
    for _ in 0..each() {
        drop(parse_progress_line(&mutator.text(&[b"3 10 a message", b"0 0", b"1 1000000"])));
    }
}

#[test]
fn no_quantity_breaks_its_parser() {
    let mut mutator = Mutator::start("quantity");
    for _ in 0..each() {
        let text = mutator.text(&[b"512Mi", b"2Gi", b"1000000", b"9223372036854775807"]);
        let bytes = quantity::bytes(&text);
        assert!(bytes.is_none_or(|bytes| i64::try_from(bytes).is_ok()), "{text:?}");
    }
}

#[test]
fn no_idempotency_key_breaks_its_parser() {
    let mut mutator = Mutator::start("idempotency key");
    for _ in 0..each() {
        let bytes =
            mutator.bytes(&[b"order-17", b"\"order-17\"", b"0190b3c4-7f5e-7a11-8f00-3d1a2b3c4d5e"]);
        if let Ok(key) = Key::parse(&bytes) {
            assert!(windlass_core::name::problem(&key.job_name()).is_none(), "{bytes:?}");
        }
    }
}
