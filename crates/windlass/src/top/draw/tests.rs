use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use windlass_core::SharedCpus;
use windlass_core::history::History;
use windlass_core::jobs::MachineCapacity;
use windlass_core::status::Progress;

use super::*;
use crate::top::feed::News;
use crate::top::screen::JobView;
use crate::top::table::Row;
use crate::top::table::tests::row;

const HOSTILE: &str = "\u{1b}[2J\u{9b}31m\u{202e}\u{7}end\nline";

fn screen() -> Screen {
    let mut screen = Screen::new("default");
    let mut running = row("running", "r", 1, 100).job;
    running.status.phase = Some(Phase::Running);
    running.status.parallelism = Some(4);
    running.status.progress = Some(Progress::new(1, 4, HOSTILE, 1.0));
    let mut failed = row("failed", "f", 1, 50).job;
    failed.status.phase = Some(Phase::Failed);
    failed.metadata.labels.insert("team".into(), HOSTILE.into());
    failed.spec.function = HOSTILE.into();
    screen.take(News::ListBegun);
    screen.take(News::Listed(vec![Row::new(running), Row::new(failed), row("new", "n", 1, 110)]));
    screen.take(News::ListEnded);
    screen.take(News::Connection(Connection::Lost(HOSTILE.into())));
    screen
}

fn drawn(screen: &Screen, width: u16, height: u16, has_colors: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let now = Timestamp::from_second(120).unwrap();
    terminal.draw(|frame| draw_at(frame, screen, Theme::new(has_colors), now)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width);
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
        .collect()
}

fn views(screen: &mut Screen) -> Vec<Buffer> {
    let job = screen.table.get("running").unwrap().job.clone();
    let log = HOSTILE.repeat(5).into_bytes();
    let job = JobView { job, is_gone: true, log, scrolled: 0 };
    let views = [View::Jobs, View::Overview, View::Job(Box::new(job)), View::Help];
    let draw_view = |view| {
        screen.view = view;
        drawn(screen, 120, 30, false)
    };
    views.into_iter().map(draw_view).collect()
}

#[test]
fn the_list_shows_what_runs_what_waits_and_what_failed() {
    let text = lines(&drawn(&screen(), 120, 12, true));
    let mut machine = screen();
    machine.take(News::Capacity(MachineCapacity { cpus: Some(8), ..Default::default() }));
    assert!(lines(&drawn(&machine, 120, 12, true))[1].ends_with("  4 of 8 CPUs granted"));
    let mut cluster = screen();
    let (name, cpus, granted, waiting) = ("all".to_owned(), 16, 10, 3);
    let shared = Some(SharedCpus { name, cpus, hold: true, granted, waiting });
    cluster.take(News::Capacity(MachineCapacity { shared, ..Default::default() }));
    let line = lines(&drawn(&cluster, 120, 12, true)).swap_remove(2);
    assert!(line.starts_with("all              [|||"), "{line}");
    assert!(
        line.ends_with("10 of 16 CPUs, 3 waiting, shared with other namespaces, on hold"),
        "{line}"
    );
    let expected = [
        "windlass  default  lost, trying again: [2J31mend line",
        "1 Queued  0 Starting  1 Running  0 Succeeded  1 Failed  0 Cancelled  4 CPUs granted",
        "",
    ];
    assert_eq!(text[..3], expected);
    let has = |line: &str, words: &[&str]| words.iter().all(|word| line.contains(word));
    assert!(has(&text[3], &["NAME", "PHASE", "FUNCTION", "QUEUE", "CPUS", "WHAT", "TIME", "AGE"]));
    assert!(has(&text[4], &["new", "New", "nothing is known that", "10s"]), "{}", text[4]);
    assert!(
        has(&text[5], &["running", "Running", "4", "25%, about 3s left [2J31mend line"]),
        "{}",
        text[5]
    );
    assert!(has(&text[6], &["failed", "Failed", "70s"]), "{}", text[6]);
    assert!(text[11].starts_with("Enter show"), "{}", text[11]);
}

#[test]
fn no_text_of_a_job_steers_the_terminal() {
    for buffer in views(&mut screen()) {
        for line in lines(&buffer) {
            assert!(!line.contains(terminal::steers), "{line:?}");
        }
    }
}

#[test]
fn there_is_no_color_where_nobody_wants_any() {
    let has_color = |buffer: &Buffer| buffer.content.iter().any(|cell| cell.fg != Color::Reset);
    assert!(has_color(&drawn(&screen(), 100, 12, true)));
    for buffer in views(&mut screen()) {
        assert!(!has_color(&buffer));
    }
}

#[test]
fn every_view_fits_in_any_terminal() {
    let mut screen = screen();
    for _ in 0..4 {
        for (width, height) in [(1, 1), (3, 2), (20, 5), (60, 10), (300, 90)] {
            drawn(&screen, width, height, true);
        }
        let buffers = views(&mut screen);
        assert_eq!(buffers.len(), 4);
    }
}

#[test]
fn the_cursor_is_always_in_sight() {
    let mut screen = Screen::new("default");
    for at in 0..200 {
        screen.take(News::Stored(Box::new(row(&format!("job-{at}"), &at.to_string(), 1, at))));
    }
    for chosen in ["job-199", "job-120", "job-0"] {
        screen.chosen = Some(chosen.into());
        assert!(lines(&drawn(&screen, 80, 12, true)).iter().any(|line| line.starts_with(chosen)));
    }
}

#[test]
fn the_overview_tells_what_has_ended_and_how_long_jobs_had_waited() {
    let mut screen = screen();
    screen.view = View::Overview;
    let overview = |screen: &Screen| lines(&drawn(screen, 120, 30, false)).join("\n");
    assert!(!overview(&screen).contains("What has ended"), "an earlier server tells none");
    let mut history = History::default().report(None, Timestamp::UNIX_EPOCH);
    let failures = [("Crashed", 1), (HOSTILE, 4)];
    history.hour.all.failures = failures.map(|(reason, count)| (reason.to_owned(), count)).into();
    history.hour.all.failed = 5;
    history.hour.all.wait_p50_seconds = Some(0.5);
    history.hour.all.wait_p95_seconds = Some(2.0);
    history.day.all.cancelled = 2;
    screen.take(News::History(Box::new(history)));
    let text = overview(&screen);
    let hour = text.lines().find(|line| line.contains("Last hour")).unwrap();
    assert!(hour.contains("0 succeeded, 5 failed (") && hour.contains(" 4, Crashed 1)"), "{hour}");
    assert!(hour.contains("half waited at most 0.5 s, 95 % at most 2.0 s"), "{hour}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    assert!(text.contains("Last day        0 succeeded, 2 cancelled"), "{text}");
}
