use super::*;

fn plain(tail: u64) -> LogRange {
    LogRange { tail, timestamps: false }
}

#[test]
fn the_end_of_a_long_log_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut log = RotatingLog::at(&path);
    for number in 0..300_000 {
        log.write(format!("{number:07}\n").as_bytes()).unwrap();
    }
    let kept = read(&path, plain(u64::MAX)).unwrap();
    let kept = kept.strip_prefix(&*cut_line(b"", false)).unwrap();
    assert!((PART_BYTES..=2 * PART_BYTES).contains(&(kept.len() as u64)), "{}", kept.len());
    assert!(kept.ends_with(b"0299998\n0299999\n"));
    assert_eq!(read(&path, plain(8)).unwrap(), b"0299999\n");
    let lines: Vec<u32> =
        std::str::from_utf8(kept).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert!(lines.is_sorted() && lines.len() == kept.len() / 8);
}

#[test]
fn a_log_whose_begin_is_gone_says_so_once_and_where_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut log = RotatingLog::at(&path);
    let part = lines(0, (PART_BYTES / 8) as u32);
    (0..2).for_each(|_| log.write(&part).unwrap());
    let all = plain(MAX_LOG_BYTES);
    assert!(read(&path, all).unwrap() == part.repeat(2));
    let mut early = LogFollower::open(&path, all).unwrap();
    log.write(b"last\n").unwrap();
    let kept = [cut_line(b"", false), part.clone(), b"last\n".to_vec()].concat();
    assert!(read(&path, all).unwrap() == kept);
    assert!(read(&path, plain(5)).unwrap() == b"last\n", "less was asked for");
    let stamped = read(&path, LogRange { timestamps: true, ..all }).unwrap();
    let first = stamped.split(|byte| *byte == b'\n').next().unwrap();
    assert!(first.ends_with(b"Z windlass: what was said before this is left out"));
    assert!(read_all(&mut LogFollower::open(&path, all).unwrap()) == kept);
    // It has the part that is gone open, and misses nothing.
    assert!(read_all(&mut early) == [part.repeat(2), b"last\n".to_vec()].concat());
}

#[test]
fn a_log_that_somebody_has_deleted_goes_on_with_its_next_part() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut log = RotatingLog::at(&path);
    log.write(b"deleted\n").unwrap();
    for gone in [&path, &times_of(&path)] {
        fs::remove_file(gone).unwrap();
    }
    log.write(&vec![b'-'; PART_BYTES as usize]).unwrap();
    log.write(b"kept\n").unwrap();
    assert!(read(&path, plain(5)).unwrap() == b"kept\n");
}

/// Numbers from `from` on, eight bytes each.
fn lines(from: u32, to: u32) -> Vec<u8> {
    (from..to).flat_map(|number| format!("{number:07}\n").into_bytes()).collect()
}

fn read_all(follower: &mut LogFollower) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let piece = follower.more(1_000).unwrap();
        if piece.is_empty() {
            return all;
        }
        assert!(piece.len() <= 1_000 + cut_line(b"", false).len());
        all.extend(piece);
    }
}

#[test]
fn a_follower_hears_everything_from_part_to_part() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut early = LogFollower::open(&path, plain(0)).unwrap();
    assert!(read_all(&mut early).is_empty());
    let mut log = RotatingLog::at(&path);
    let (mut read_back, mut written) = (Vec::new(), 0);
    // Over several parts, in steps that are no divisor of one.
    while written < 300_000 {
        for number in written..written + 7_001 {
            log.write(&lines(number, number + 1)).unwrap();
        }
        written += 7_001;
        read_back.extend(read_all(&mut early));
    }
    assert!(read_back == lines(0, written), "{} bytes of {}", read_back.len(), written * 8);
    // Later ones hear the end first: of the latest part, and of both.
    for tail in [0, 8, PART_BYTES] {
        let mut late = LogFollower::open(&path, plain(tail)).unwrap();
        assert!(read_all(&mut late) == lines(written - (tail / 8) as u32, written), "{tail}");
        assert!(read_all(&mut late).is_empty());
    }
}

#[test]
fn a_follower_that_is_two_parts_late_goes_on_with_what_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut log = RotatingLog::at(&path);
    log.write(b"first\n").unwrap();
    let mut late = LogFollower::open(&path, plain(0)).unwrap();
    let part = vec![b'x'; PART_BYTES as usize];
    for _ in 0..3 {
        log.write(&part).unwrap();
    }
    log.write(b"last\n").unwrap();
    let read_back = read_all(&mut late);
    assert!(read_back == [cut_line(b"", false), part, b"last\n".to_vec()].concat());
}

#[test]
fn a_log_that_cannot_be_written_says_so_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = RotatingLog::at(directory.path().join("missing/log"));
    let error = log.write(b"1").unwrap_err();
    assert!(error.to_string().contains("missing/log"), "{error}");
    log.write(b"2").unwrap();
    // It is tried anew each time.
    fs::create_dir(directory.path().join("missing")).unwrap();
    log.write(b"3").unwrap();
    assert_eq!(fs::read(directory.path().join("missing/log")).unwrap(), b"3");
}

#[test]
fn no_log_is_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(read(&directory.path().join("log"), plain(10)).unwrap(), b"");
}
