//! What is shown, and what a key does to it. No I/O.

use super::summary::Estimates;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use windlass_core::history::HistoryReport;
use windlass_core::jobs::MachineCapacity;
use windlass_core::{Job, Queue};

use super::feed::{Connection, News};
use super::table::{JobTable, Row};

/// Most bytes of a log that are kept.
pub(super) const MAX_LOG_BYTES: usize = 64 * 1024;

/// How far a page key goes, in rows.
const PAGE: isize = 20;

/// All that is known and chosen.
pub(super) struct Screen {
    pub(super) namespace: String,
    pub(super) table: JobTable,
    pub(super) connection: Connection,
    /// Whether all jobs were listed once.
    pub(super) is_listed: bool,
    pub(super) queues: Result<Vec<Queue>, String>,
    /// What there is for all queues together.
    pub(super) capacity: MachineCapacity,
    /// What the last hour and the last day were like, where that is kept.
    pub(super) history: Option<Box<HistoryReport>>,
    pub(super) estimates: Estimates,
    pub(super) view: View,
    pub(super) mode: Mode,
    /// The words that each job in the list has.
    pub(super) search: String,
    /// Name of the job that the cursor is on.
    pub(super) chosen: Option<String>,
    /// What came of what was asked for last.
    pub(super) message: Option<Message>,
}

/// What fills the screen.
pub(super) enum View {
    Jobs,
    Overview,
    Job(Box<JobView>),
    Help,
}

/// What the keys mean now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browse,
    /// Letters are words to search for.
    Search,
    /// `y` does it.
    Confirm(Asked),
}

/// One job.
pub(super) struct JobView {
    /// As it was known last.
    pub(super) job: Job,
    pub(super) is_gone: bool,
    /// The end of its log.
    pub(super) log: Vec<u8>,
    /// Lines between the end of the log and the end of what is shown.
    pub(super) scrolled: usize,
}

/// Something that is done to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Cancel,
    Retry,
    Delete,
}

/// An action, and the job that was on the screen when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) action: Action,
    pub(super) name: String,
    pub(super) uid: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) is_bad: bool,
}

/// What a key asks of whoever shows the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Do(Asked),
    /// The log of this job, from now on.
    FollowLog {
        name: String,
        uid: String,
    },
    StopLog,
    Redraw,
}

impl Screen {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            table: JobTable::default(),
            connection: Connection::Connecting,
            is_listed: false,
            queues: Ok(Vec::new()),
            capacity: MachineCapacity::default(),
            history: None,
            estimates: Estimates::new(),
            view: View::Jobs,
            mode: Mode::Browse,
            search: String::new(),
            chosen: None,
            message: None,
        }
    }

    /// The jobs that are wanted, the newest first.
    pub(super) fn wanted(&self) -> Vec<&Row> {
        let words = self.search.to_lowercase();
        self.table.rows().filter(|row| row.has(&words)).collect()
    }

    /// Takes over what is new.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Connection(connection) => self.connection = connection,
            News::ListBegun => self.table.begin_list(),
            News::Listed(rows) => rows.into_iter().for_each(|row| self.table.put_listed(row)),
            News::ListEnded => {
                self.table.end_list();
                self.is_listed = true;
            }
            News::Stored(row) => self.table.insert(*row),
            News::Deleted { name, uid } => self.table.delete(&name, &uid),
            News::Queues(queues) => self.queues = queues,
            News::Capacity(capacity) => self.capacity = capacity,
            News::Estimates(estimates) => {
                let named = estimates.into_iter().map(|told| (told.name.clone(), told));
                self.estimates = named.collect();
            }
            News::History(history) => self.history = Some(history),
        }
        if let View::Job(view) = &mut self.view {
            let uid = &view.job.metadata.uid;
            match self.table.get(&view.job.metadata.name).filter(|row| row.uid() == uid) {
                Some(row) => view.job = row.job.clone(),
                None => view.is_gone = self.is_listed,
            }
        }
    }

    /// What the job that is shown has said.
    pub(super) fn take_log(&mut self, uid: &str, bytes: &[u8]) {
        if let View::Job(view) = &mut self.view
            && view.job.metadata.uid == uid
        {
            view.log.extend_from_slice(bytes);
            let excess = view.log.len().saturating_sub(MAX_LOG_BYTES);
            view.log.drain(..excess);
        }
    }

    /// What came of an action.
    pub(super) fn show_outcome(&mut self, came_of_it: Result<String, String>) {
        let is_bad = came_of_it.is_err();
        let text = came_of_it.unwrap_or_else(|why| why);
        self.message = Some(Message { text, is_bad });
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Wish::Quit),
                KeyCode::Char('l') => Some(Wish::Redraw),
                _ => None,
            };
        }
        match self.mode.clone() {
            Mode::Search => self.press_in_search(key.code),
            Mode::Confirm(asked) => {
                self.mode = Mode::Browse;
                matches!(key.code, KeyCode::Char('y' | 'Y')).then_some(Wish::Do(asked))
            }
            Mode::Browse => {
                self.message = None;
                self.browse(key.code)
            }
        }
    }

    fn press_in_search(&mut self, key: KeyCode) -> Option<Wish> {
        match key {
            KeyCode::Enter => self.mode = Mode::Browse,
            KeyCode::Esc => {
                self.mode = Mode::Browse;
                self.search.clear();
            }
            KeyCode::Backspace => drop(self.search.pop()),
            KeyCode::Char(letter) => self.search.push(letter),
            _ => {}
        }
        None
    }

    fn browse(&mut self, key: KeyCode) -> Option<Wish> {
        match key {
            KeyCode::Char('q') => return self.leave(),
            KeyCode::Esc if matches!(self.view, View::Jobs) => self.search.clear(),
            KeyCode::Esc => return self.leave(),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => return self.show(View::Help),
            KeyCode::Char('o') => return self.show(View::Overview),
            KeyCode::Tab => {
                let is_list = matches!(self.view, View::Jobs);
                return self.show(if is_list { View::Overview } else { View::Jobs });
            }
            KeyCode::Char('/') => {
                self.mode = Mode::Search;
                return self.show(View::Jobs);
            }
            KeyCode::Enter if matches!(self.view, View::Jobs) => return self.open(),
            KeyCode::Char('c') => self.ask_whether_to(Action::Cancel),
            KeyCode::Char('d') => self.ask_whether_to(Action::Delete),
            KeyCode::Char('r') => self.ask_whether_to(Action::Retry),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-PAGE),
            KeyCode::PageDown | KeyCode::Char(' ') => self.go(PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            _ => {}
        }
        None
    }

    /// Back to the list, and from there out.
    fn leave(&mut self) -> Option<Wish> {
        if matches!(self.view, View::Jobs) { Some(Wish::Quit) } else { self.show(View::Jobs) }
    }

    fn show(&mut self, view: View) -> Option<Wish> {
        let was = std::mem::replace(&mut self.view, view);
        matches!(was, View::Job(_)).then_some(Wish::StopLog)
    }

    /// The job that the cursor is on.
    fn open(&mut self) -> Option<Wish> {
        let row = self.wanted().into_iter().nth(self.cursor()?)?;
        let (job, name, uid) = (row.job.clone(), row.name().to_owned(), row.uid().to_owned());
        let view = JobView { job, is_gone: false, log: Vec::new(), scrolled: 0 };
        self.chosen = Some(name.clone());
        self.view = View::Job(Box::new(view));
        Some(Wish::FollowLog { name, uid })
    }

    fn ask_whether_to(&mut self, action: Action) {
        if let Some(asked) = self.asked(action) {
            self.mode = Mode::Confirm(asked);
        }
    }

    fn asked(&self, action: Action) -> Option<Asked> {
        let metadata = match &self.view {
            View::Job(view) => &view.job.metadata,
            View::Jobs => &self.wanted().into_iter().nth(self.cursor()?)?.job.metadata,
            View::Overview | View::Help => return None,
        };
        Some(Asked { action, name: metadata.name.clone(), uid: metadata.uid.clone() })
    }

    /// Where the cursor is among the jobs that are wanted: on the chosen one, else on the first.
    pub(super) fn cursor(&self) -> Option<usize> {
        let wanted = self.wanted();
        let at = wanted.iter().position(|row| Some(row.name()) == self.chosen.as_deref());
        at.or_else(|| (!wanted.is_empty()).then_some(0))
    }

    fn go(&mut self, by: isize) {
        match &mut self.view {
            View::Job(view) => {
                let lines = view.log.iter().filter(|byte| **byte == b'\n').count();
                view.scrolled = view.scrolled.saturating_add_signed(by.saturating_neg()).min(lines);
            }
            View::Jobs => {
                let Some(at) = self.cursor() else { return };
                let wanted = self.wanted();
                let at = at.saturating_add_signed(by).min(wanted.len() - 1);
                self.chosen = Some(wanted[at].name().to_owned());
            }
            View::Overview | View::Help => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::table::tests::row;

    fn screen() -> Screen {
        let mut screen = Screen::new("default");
        screen.take(News::ListBegun);
        let rows = [("old", 1), ("middle", 2), ("new", 3)];
        screen.take(News::Listed(rows.map(|(name, at)| row(name, name, 1, at)).to_vec()));
        screen.take(News::ListEnded);
        screen
    }

    fn press(screen: &mut Screen, keys: &str) -> Option<Wish> {
        let code = |letter| match letter {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            letter => KeyCode::Char(letter),
        };
        keys.chars().map(|letter| screen.press(KeyEvent::from(code(letter)))).last().flatten()
    }

    #[test]
    fn the_cursor_stays_on_its_job_when_others_come() {
        let mut screen = screen();
        press(&mut screen, "j");
        screen.take(News::Stored(Box::new(row("newest", "n", 1, 9))));
        assert_eq!((screen.chosen.as_deref(), screen.cursor()), (Some("middle"), Some(2)));
        press(&mut screen, "G");
        assert_eq!(screen.chosen.as_deref(), Some("old"));
        screen.take(News::Deleted { name: "old".into(), uid: "old".into() });
        assert_eq!(screen.cursor(), Some(0));
    }

    #[test]
    fn nothing_is_done_to_a_job_without_a_yes() {
        let asked = Asked { action: Action::Cancel, name: "new".into(), uid: "new".into() };
        for (keys, expected) in [
            ("c", None),
            ("cn", None),
            ("c\n", None),
            ("c\u{1b}", None),
            ("cy", Some(Wish::Do(asked.clone()))),
            ("dn", None),
            ("dy", Some(Wish::Do(Asked { action: Action::Delete, ..asked.clone() }))),
            ("rrrr", None),
            ("ry", Some(Wish::Do(Asked { action: Action::Retry, ..asked.clone() }))),
        ] {
            assert_eq!(press(&mut screen(), keys), expected, "{keys:?}");
        }
        let mut screen = screen();
        press(&mut screen, "c");
        // What was asked for is done to the job that was asked about, or to none.
        screen.take(News::Stored(Box::new(row("newest", "n", 1, 9))));
        assert_eq!(press(&mut screen, "y"), Some(Wish::Do(asked)));
    }

    #[test]
    fn words_select_jobs_and_letters_are_no_commands_meanwhile() {
        let mut screen = screen();
        assert_eq!(press(&mut screen, "/mq"), None);
        assert!(screen.wanted().is_empty());
        screen.press(KeyEvent::from(KeyCode::Backspace));
        press(&mut screen, "\n");
        assert_eq!(screen.wanted().iter().map(|row| row.name()).collect::<Vec<_>>(), ["middle"]);
        press(&mut screen, "\u{1b}");
        assert_eq!(screen.wanted().len(), 3);
        assert_eq!(press(&mut screen, "q"), Some(Wish::Quit));
    }

    #[test]
    fn a_job_that_was_made_again_is_not_the_one_that_is_shown() {
        let mut screen = screen();
        let follows = Wish::FollowLog { name: "new".into(), uid: "new".into() };
        assert_eq!(press(&mut screen, "\n"), Some(follows));
        screen.take_log("other", b"not this");
        screen.take_log("new", &vec![b'x'; MAX_LOG_BYTES + 1]);
        screen.take(News::Deleted { name: "new".into(), uid: "new".into() });
        screen.take(News::Stored(Box::new(row("new", "again", 1, 9))));
        let View::Job(view) = &screen.view else { panic!() };
        assert!(view.is_gone && view.job.metadata.uid == "new");
        assert_eq!(view.log.len(), MAX_LOG_BYTES);
        assert_eq!(press(&mut screen, "q"), Some(Wish::StopLog));
    }
}
