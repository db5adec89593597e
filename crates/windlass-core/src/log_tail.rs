//! Which part of a log somebody wants, and how its end is kept while it is read.

use crate::{AttemptNumber, Error, Job};

/// The attempt whose log is wanted: the one that is asked for, else the latest, if there is one. `NotFound` for an attempt
/// that was not made.
pub fn wanted_attempt(
    job: &Job,
    asked: Option<AttemptNumber>,
) -> Result<Option<AttemptNumber>, Error> {
    let latest = job.status.attempt;
    match asked {
        Some(asked) if !(1..=latest.unwrap_or(0)).contains(&asked) => {
            let name = format!("{asked} of {}", job.metadata.name);
            Err(Error::NotFound { kind: "attempt", name })
        }
        asked => Ok(asked.or(latest)),
    }
}

/// Most of a log that is given at once, in bytes. Whoever asks for so much asks for all of it.
pub const MAX_LOG_BYTES: u64 = 1 << 20;

/// What is said in place of the begin of a log, where that is not kept or not given.
const CUT: &str = "windlass: what was said before this is left out\n";

/// The line in place of the begin of a log, of which this is what follows. With times it has that of the next line.
pub fn cut_line(following: &[u8], timestamps: bool) -> Vec<u8> {
    let end = following.iter().position(|byte| *byte == b' ').filter(|_| timestamps);
    let time = end.and_then(|end| following.get(..=end)).unwrap_or_default();
    [time, CUT.as_bytes()].concat()
}

/// What to give of a log that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// At most so many bytes of its end.
    pub tail: u64,
    /// Whether each line begins with the time at which it came, as `kubectl logs --timestamps` prints it.
    pub timestamps: bool,
}

/// Which log of a job to give, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedLog {
    /// The attempt that has said it: the latest one where none is named.
    pub attempt: Option<AttemptNumber>,
    /// What to give of it.
    pub range: LogRange,
}

/// The last bytes of a log, in memory of twice as many.
#[derive(Debug)]
pub struct LogTail {
    range: LogRange,
    limit: usize,
    bytes: Vec<u8>,
    is_cut: bool,
    /// What came before was not read.
    is_begun_late: bool,
    lines: u64,
}

impl LogTail {
    /// With nothing read yet.
    pub fn new(range: LogRange) -> Self {
        let limit = usize::try_from(range.tail).unwrap_or(usize::MAX);
        Self { range, limit, bytes: Vec::new(), is_cut: false, is_begun_late: false, lines: 0 }
    }

    /// There was something before what is read.
    pub fn begin_late(&mut self) {
        self.is_begun_late = true;
    }

    /// How many lines were read.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Adds what was read next.
    pub fn push(&mut self, piece: &[u8]) {
        self.lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() / 2 > self.limit {
            self.cut();
        }
    }

    /// The end of all that was read. With times it begins with a whole line: a time that is cut would
    /// read as another. Whoever has asked for all of it is told where its begin is missing.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.cut();
        if self.is_cut && self.range.timestamps {
            let line = self.bytes.iter().position(|byte| *byte == b'\n');
            self.bytes.drain(..line.map_or(self.bytes.len(), |end| end + 1));
        }
        if (self.is_cut || self.is_begun_late) && self.range.tail >= MAX_LOG_BYTES {
            return [cut_line(&self.bytes, self.range.timestamps), self.bytes].concat();
        }
        self.bytes
    }

    fn cut(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.limit);
        self.is_cut |= surplus > 0;
        self.bytes.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(tail: u64, timestamps: bool, pieces: &[&str]) -> String {
        let mut end = LogTail::new(LogRange { tail, timestamps });
        pieces.iter().for_each(|piece| end.push(piece.as_bytes()));
        String::from_utf8(end.into_bytes()).unwrap()
    }

    #[test]
    fn whoever_asks_for_all_is_told_where_the_begin_is_missing() {
        let said = "2026-01-02T03:04:05.678901Z abc\n".repeat(1 << 16);
        for timestamps in [false, true] {
            let kept = end_of(MAX_LOG_BYTES, timestamps, &[&said]);
            let time = if timestamps { "2026-01-02T03:04:05.678901Z " } else { "" };
            assert!(kept.starts_with(&format!("{time}{CUT}")), "{:?}", &kept[..100]);
            assert!(!end_of(MAX_LOG_BYTES - 1, timestamps, &[&said]).contains(CUT));
            assert!(!end_of(MAX_LOG_BYTES, timestamps, &[&said[..1 << 20]]).contains(CUT));
        }
        let mut late = LogTail::new(LogRange { tail: u64::MAX, timestamps: false });
        late.push(b"a\nb");
        late.begin_late();
        assert_eq!(late.lines(), 1);
        assert_eq!(late.into_bytes(), format!("{CUT}a\nb").into_bytes());
    }

    #[test]
    fn the_end_is_kept_and_with_times_only_whole_lines_of_it() {
        let pieces = ["12:01 a\n", "12:02 b\n12:", "03 c\n"];
        assert_eq!(end_of(99, false, &pieces), pieces.concat());
        assert_eq!(end_of(99, true, &pieces), pieces.concat());
        assert_eq!(end_of(10, false, &pieces), "b\n12:03 c\n");
        assert_eq!(end_of(10, true, &pieces), "12:03 c\n");
        assert_eq!(end_of(7, true, &pieces), "");
        assert_eq!(end_of(0, true, &pieces), "");
    }
}
