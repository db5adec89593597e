//! The end of what an attempt has said on stdout and stderr, as it is kept once its pod is gone.
//!
//! It is text as `kubectl logs --timestamps` prints it: each line begins with the time at which its first byte came, and
//! a space. What follows are the bytes of the function, whatever they are.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::AttemptNumber;
use crate::log_tail::cut_line;

/// Most that is kept of an attempt, in bytes, with the times.
pub const MAX_KEPT_LOG_BYTES: u64 = 1 << 20;

/// Bytes of a time and the space after it.
const TIME_BYTES: usize = "2026-01-02T03:04:05.678901Z ".len();

/// Bytes of the line that says that the begin is missing, at most. A log that may have few bytes has none.
const CUT_ROOM: usize = 200;

/// Where the object store of a cluster keeps it: `NAMESPACE/JOB-UID/ATTEMPT-log`, beside the results of the job, with which
/// it is deleted.
pub fn log_location(namespace: &str, job_uid: &str, attempt: AttemptNumber) -> String {
    format!("{namespace}/{job_uid}/{attempt}-log")
}

/// The end of what an attempt says, in bounded memory.
#[derive(Debug)]
pub struct LogEnd {
    most: usize,
    /// With times.
    bytes: VecDeque<u8>,
    is_inside_line: bool,
    /// Bytes of the first line that are forgotten, and the first of them: its time.
    forgotten: usize,
    /// Whether anything is.
    is_cut: bool,
    time: [u8; TIME_BYTES],
}

impl LogEnd {
    /// Of which at most so many bytes are kept.
    pub fn new(most: u64) -> Self {
        let most = usize::try_from(most.min(MAX_KEPT_LOG_BYTES)).unwrap_or_default();
        // The time of a first line of which the begin is forgotten is put before it again.
        let most = most.saturating_sub(TIME_BYTES);
        let (bytes, time) = (VecDeque::new(), [0; TIME_BYTES]);
        Self { most, bytes, is_inside_line: false, forgotten: 0, is_cut: false, time }
    }

    /// Adds what has come now.
    pub fn push(&mut self, said: &[u8], now: Timestamp) {
        let time = format!("{now:.6} ");
        for line in said.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_inside_line {
                self.bytes.extend(time.as_bytes());
            }
            self.bytes.extend(line);
            self.is_inside_line = !line.ends_with(b"\n");
            self.forget();
        }
    }

    /// The end of all that has come. Where its begin is missing, its first line says so.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let tells = self.is_cut && self.most >= CUT_ROOM;
        if tells {
            self.most -= CUT_ROOM;
            self.forget();
        }
        let kept = self.kept();
        let line = if tells { cut_line(&kept, true) } else { Vec::new() };
        [line, kept].concat()
    }

    fn kept(self) -> Vec<u8> {
        let time = self.time.get(..self.forgotten.min(TIME_BYTES)).unwrap_or_default();
        time.iter().copied().chain(self.bytes).collect()
    }

    fn forget(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.most);
        self.is_cut |= surplus > 0;
        for byte in self.bytes.drain(..surplus) {
            if let Some(at) = self.time.get_mut(self.forgotten) {
                *at = byte;
            }
            let is_end = byte == b'\n' && self.forgotten >= TIME_BYTES;
            self.forgotten = if is_end { 0 } else { self.forgotten + 1 };
        }
    }
}

/// What the function itself has said.
pub fn without_times(kept: &[u8]) -> Vec<u8> {
    let lines = kept.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| line.get(TIME_BYTES..).unwrap_or_default()).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of these pieces, each said a second after the one before.
    fn end_of(most: u64, pieces: &[&[u8]]) -> Vec<u8> {
        let mut end = LogEnd::new(most);
        for (second, piece) in pieces.iter().enumerate() {
            end.push(piece, Timestamp::from_second(second as i64).unwrap());
        }
        end.into_bytes()
    }

    fn line(second: u32, text: &str) -> String {
        format!("1970-01-01T00:00:{second:02}.000000Z {text}")
    }

    #[test]
    fn each_line_has_the_time_at_which_its_first_byte_came() {
        let pieces: [&[u8]; 4] = [b"one\ntw", b"o\n\n", b"\0\xff\xfe\n", b"end"];
        let kept = end_of(MAX_KEPT_LOG_BYTES, &pieces);
        let texts = [line(0, "one\n"), line(0, "two\n"), line(1, "\n")].concat();
        let rest = [line(2, "").as_bytes(), b"\0\xff\xfe\n", line(3, "end").as_bytes()].concat();
        assert_eq!(kept, [texts.as_bytes(), &rest].concat());
        assert_eq!(without_times(&kept), pieces.concat());
        assert!(end_of(MAX_KEPT_LOG_BYTES, &[]).is_empty() && without_times(b"").is_empty());
    }

    #[test]
    fn a_cut_line_keeps_its_time_wherever_it_is_cut() {
        let pieces: [&[u8]; 3] = [b"gone\n", b"0123456789abcdef\n", b"last\n"];
        let last = line(2, "last\n");
        for of_cut in 1..17 {
            let most = (last.len() + of_cut + TIME_BYTES) as u64;
            let kept = String::from_utf8(end_of(most, &pieces)).unwrap();
            let text = "0123456789abcdef\n";
            assert_eq!(kept, line(1, &text[text.len() - of_cut..]) + &last);
        }
        // Within a time there is nothing left of its line to show.
        let within = String::from_utf8(end_of((last.len() + 10) as u64, &pieces)).unwrap();
        assert!(last.ends_with(&without_times_of(&within)) && within.len() <= last.len() + 10);
    }

    fn without_times_of(kept: &str) -> String {
        String::from_utf8(without_times(kept.as_bytes())).unwrap()
    }

    #[test]
    fn one_line_of_five_mib_is_as_bounded_as_many_short_ones() {
        let piece = vec![b'x'; 64 * 1024];
        let mut long = LogEnd::new(u64::MAX);
        let mut short = LogEnd::new(u64::MAX);
        for second in 0..80 {
            let now = Timestamp::from_second(second).unwrap();
            long.push(&piece, now);
            short.push(&vec![b'\n'; 16 * 1024], now);
        }
        for (end, first) in [(long, line(0, "x")), (short, line(79, "\n"))] {
            let kept = end.into_bytes();
            let most = MAX_KEPT_LOG_BYTES as usize;
            assert!((most - CUT_ROOM - TIME_BYTES..=most).contains(&kept.len()), "{}", kept.len());
            assert!(kept.ends_with(&first.as_bytes()[first.len() - 1..]));
            let lines = kept.split_inclusive(|byte| *byte == b'\n');
            assert!(lines.into_iter().skip(1).all(|line| line.len() >= TIME_BYTES));
            assert!(kept.starts_with(b"1970-01-01T00:0"));
            let told = without_times(&kept);
            assert!(told.starts_with(b"windlass: what was said before this is left out\n"));
        }
    }
}
