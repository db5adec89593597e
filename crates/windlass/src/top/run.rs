//! Shows the screen on the terminal until somebody leaves.

use std::future::pending;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use crossterm::event::{Event, EventStream};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use ratatui::DefaultTerminal;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use windlass_core::JobKey;
use windlass_core::log_tail::LogRange;

use super::actions::act;
use super::draw::{Theme, draw};
use super::feed::{follow_jobs, follow_queues};
use super::screen::{MAX_LOG_BYTES, Screen, Wish};
use crate::backend::resolve::Backend;
use crate::process;

/// Shortest time between two drawings, so that many changes cost little.
const FRAME: Duration = Duration::from_millis(50);

/// How often times are drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// News that wait to be drawn.
const WAITING_NEWS: usize = 1024;

/// Shows the jobs until somebody leaves or the process is asked to stop.
pub(crate) async fn run(backend: &Backend) -> anyhow::Result<ExitCode> {
    // The hook of `try_init` gives the terminal back when something panics.
    let mut terminal = ratatui::try_init().context("the terminal cannot be set up")?;
    let shown = tokio::select! {
        shown = show(backend, &mut terminal) => shown,
        () = process::stopped() => Ok(()),
    };
    ratatui::try_restore().context("the terminal cannot be restored")?;
    shown.map(|()| ExitCode::SUCCESS)
}

async fn show(backend: &Backend, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
    let theme = Theme::of_environment();
    let mut screen = Screen::new(&backend.namespace);
    let (sender, mut news) = mpsc::channel(WAITING_NEWS);
    let mut jobs = std::pin::pin!(follow_jobs(backend, &sender));
    let mut queues = std::pin::pin!(follow_queues(backend, &sender));
    let mut keys = EventStream::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut acting = FuturesUnordered::new();
    let mut log = Log::default();
    let (mut is_old, mut next_frame) = (true, Instant::now());
    loop {
        tokio::select! {
            () = &mut jobs => {}
            () = &mut queues => {}
            Some(what) = news.recv() => screen.take(what),
            Some(came_of_it) = acting.next() => screen.show_outcome(came_of_it),
            (uid, said) = log.next() => match said {
                Ok(bytes) => screen.take_log(&uid, &bytes),
                Err(why) => screen.show_outcome(Err(why)),
            },
            event = keys.next() => {
                let event = event.context("the terminal is gone")?.context("the terminal")?;
                let wish = match event {
                    Event::Key(key) => screen.press(key),
                    _ => None,
                };
                match wish {
                    Some(Wish::Quit) => return Ok(()),
                    Some(Wish::Do(asked)) => acting.push(act(backend, asked)),
                    Some(Wish::FollowLog { name, uid }) => log.follow(backend, &name, uid),
                    Some(Wish::StopLog) => log = Log::default(),
                    // Not `clear`: it asks the terminal where the cursor is, and not every one answers.
                    Some(Wish::Redraw) => {
                        let size = terminal.size().context("the terminal")?;
                        terminal.resize(size.into()).context("the terminal")?;
                    }
                    None => {}
                }
            }
            _ = tick.tick() => {}
            () = sleep_until(next_frame), if is_old => {
                terminal.draw(|frame| draw(frame, &screen, theme)).context("the terminal")?;
                (is_old, next_frame) = (false, Instant::now() + FRAME);
                continue;
            }
        }
        is_old = true;
    }
}

type Said = Result<Vec<u8>, String>;

/// The log of the job that is shown.
#[derive(Default)]
struct Log<'a> {
    uid: String,
    pieces: Option<Pin<Box<dyn futures::Stream<Item = Said> + 'a>>>,
}

impl<'a> Log<'a> {
    fn follow(&mut self, backend: &'a Backend, name: &str, uid: String) {
        self.uid = uid;
        self.pieces = Some(Box::pin(pieces(backend, backend.key(name))));
    }

    /// What is said next, and by which job.
    async fn next(&mut self) -> (String, Said) {
        let Some(pieces) = &mut self.pieces else { return pending().await };
        match pieces.next().await {
            Some(said) => (self.uid.clone(), said),
            None => {
                self.pieces = None;
                pending().await
            }
        }
    }
}

fn pieces(backend: &Backend, key: JobKey) -> impl futures::Stream<Item = Said> {
    let range = LogRange { tail: MAX_LOG_BYTES as u64, timestamps: false };
    let opened = async move {
        let failed = |error: &dyn std::fmt::Display| format!("the log cannot be read: {error}");
        match backend.jobs.follow_logs(&key, range).await {
            Ok(pieces) => pieces
                .map(move |piece| piece.map(|bytes| bytes.to_vec()).map_err(|why| failed(&why)))
                .boxed(),
            Err(error) => futures::stream::once(async move { Err(failed(&error)) }).boxed(),
        }
    };
    futures::stream::once(opened).flatten()
}
