//! Functions that serve: this program plays the worker over a real socket, and starts itself again as a function.
//!
//! Without arguments that name a function it runs its tests.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, but without the harness clippy knows tests by"
)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{exit_within, run_tests, terminate, thread_count, wait_until};
use windlass_sdk::rayon::prelude::*;
use windlass_sdk::{Error, Run, rayon};

const TESTS: [(&str, fn()); 9] = [
    ("threads_follow_the_grant_of_each_job", threads_follow_the_grant_of_each_job),
    ("a_job_is_told_as_in_version_1", a_job_is_told_as_in_version_1),
    ("an_end_names_whose_fault_it_was", an_end_names_whose_fault_it_was),
    ("what_a_job_leaves_costs_the_process", what_a_job_leaves_costs_the_process),
    ("a_cancel_ends_the_job_and_keeps_the_process", a_cancel_ends_the_job_and_keeps_the_process),
    ("sigterm_ends_the_process_at_rest_and_at_work", sigterm_ends_the_process_at_rest_and_at_work),
    ("the_end_of_the_socket_ends_the_process", the_end_of_the_socket_ends_the_process),
    ("a_tiny_job_costs_less_than_a_process", a_tiny_job_costs_less_than_a_process),
    ("nonsense_from_the_worker_ends_the_process", nonsense_from_the_worker_ends_the_process),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("function:act") => windlass_sdk::main(act),
        Some("function:bytes") => windlass_sdk::main_bytes(|_: Value, _| Ok(vec![0, 255])),
        _ => run_tests(&TESTS, &arguments),
    }
}

/// Does what the input says, and tells what it sees.
fn act(input: Value, run: &Run) -> Result<Value, Error> {
    static JOBS: AtomicUsize = AtomicUsize::new(0);
    match input["do"].as_str().unwrap_or_default() {
        "refuse" => return Err(Error::bad_input("/do", "never")),
        "fail" => return Err(Error::failed("no luck")),
        "say stopped" => return Err(Error::cancelled()),
        "panic" => (0..8).into_par_iter().for_each(|number| assert!(number != 5, "a bug")),
        "exit" => std::process::exit(9),
        "spin" => {
            run.progress().set_total(1);
            loop {
                rayon::broadcast(|_| run.check()).into_iter().collect::<Result<(), _>>()?;
            }
        }
        "sleep" => loop {
            std::thread::sleep(Duration::from_millis(20));
        },
        other => leave(other),
    }
    // All of the pool is in here at once.
    let arrived = AtomicUsize::new(0);
    let threads = rayon::broadcast(|_| {
        arrived.fetch_add(1, SeqCst);
        while arrived.load(SeqCst) < rayon::current_num_threads() {
            std::thread::yield_now();
        }
        thread_count()
    });
    run.progress().add(1);
    Ok(json!({
        "threads": threads,
        "pool": rayon::current_num_threads(),
        "index": rayon::current_thread_index(),
        "isMain": std::thread::current().name() == Some("main"),
        "jobs": JOBS.fetch_add(1, SeqCst),
        "parallelism": run.parallelism(),
        "deadline": run.deadline().map(|deadline| deadline.to_string()),
        "job": run.job(),
        "attempt": run.attempt(),
    }))
}

/// Leaves something for the next job.
#[expect(
    unsafe_code,
    reason = "to change the environment is unsafe beside other threads; these wait for work"
)]
fn leave(what: &str) {
    static KEPT: Mutex<Vec<fs::File>> = Mutex::new(Vec::new());
    match what {
        "thread" => {
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
        }
        "global pool" => {
            // Rayon outside the job's pool makes one of its own, for good.
            std::thread::spawn(|| (0..9).into_par_iter().sum::<i32>()).join().unwrap();
        }
        "open" => KEPT.lock().unwrap().push(fs::File::open("/dev/null").unwrap()),
        "environment" => unsafe { std::env::set_var("LEFT", "1") },
        "directory" => std::env::set_current_dir("/").unwrap(),
        "mask" => {
            rustix::process::umask(rustix::fs::Mode::empty());
        }
        "detached" => rayon::spawn(|| std::thread::sleep(Duration::from_millis(100))),
        "ended thread" => {
            std::thread::spawn(|| {}).join().unwrap();
        }
        _ => {}
    }
}

/// The worker's end, and the function's process.
struct Served {
    directory: tempfile::TempDir,
    child: Child,
    stream: UnixStream,
    lines: BufReader<UnixStream>,
    /// What the last answer had as the result.
    result: Option<Value>,
}

impl Served {
    /// A process that is ready.
    fn start(function: &str) -> Self {
        let mut served = Self::connected(function);
        assert_eq!(served.heard(), json!({"ready": 2}));
        served
    }

    fn connected(function: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let work = directory.path().join("work");
        fs::create_dir(&work).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let child = command
            .arg(format!("function:{function}"))
            .env_clear()
            .env("WINDLASS_SERVE", &path)
            .env("RAYON_NUM_THREADS", "1")
            .current_dir(&work)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        Self { directory, child, stream, lines, result: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("work").join(name)
    }

    fn say(&mut self, line: &Value) {
        // In one piece, as a worker says it.
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn heard(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        self.result = answer.as_object_mut().unwrap().remove("result");
        answer
    }

    /// The line of a job that finds an empty directory.
    fn prepare(&self, job: &str, parallelism: usize, input: &Value) -> Value {
        for name in ["output", "progress"] {
            fs::remove_file(self.path(name)).unwrap_or_default();
        }
        let input_path = self.directory.path().join("input");
        fs::write(&input_path, input.to_string()).unwrap();
        json!({
            "job": job, "attempt": 2, "parallelism": parallelism, "input": input_path,
            "inputType": "application/json", "files": {}, "output": self.path("output"),
            "progress": self.path("progress"), "directory": self.path(""),
            "deadline": "2030-01-02T03:04:05Z", "traceparent": "00-0-0-01", "new": [],
        })
    }

    fn begin(&mut self, job: &str, parallelism: usize, input: &Value) {
        let line = self.prepare(job, parallelism, input);
        self.say(&line);
    }

    fn run(&mut self, job: &str, parallelism: usize, input: &Value) -> Value {
        self.begin(job, parallelism, input);
        self.heard()
    }

    /// The result, which is small and so in the answer.
    fn output(&self) -> Value {
        assert!(!self.path("output").exists());
        let result = self.result.as_ref().unwrap().as_str().unwrap();
        serde_json::from_str(result).unwrap()
    }

    fn computes(&self) {
        wait_until("the function computes", || {
            fs::read_to_string(self.path("progress")).is_ok_and(|text| text.contains("0 1"))
        });
    }

    /// Its exit status and what it said, after its socket is closed.
    fn end(mut self) -> (Option<i32>, String) {
        drop((self.stream, self.lines));
        let status = exit_within(&mut self.child, Duration::from_secs(5));
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }
}

fn threads_follow_the_grant_of_each_job() {
    let mut served = Served::start("act");
    for number in 0..1000 {
        let parallelism = [1, 4, 2, 7, 3, 1, 1, 8][number % 8];
        let job = format!("job-{number}");
        assert_eq!(served.run(&job, parallelism, &json!({})), json!({"done": job}));
        let told = served.output();
        assert_eq!(told["threads"], json!(vec![parallelism; parallelism]), "{told}");
        assert_eq!((&told["pool"], &told["jobs"]), (&json!(parallelism), &json!(number)));
        assert_eq!((&told["index"], &told["isMain"]), (&json!(0), &json!(true)));
        let listed = fs::read_dir(format!("/proc/{}/task", served.child.id())).unwrap().count();
        assert_eq!(listed, 1, "none is left when the answer comes");
    }
    assert_eq!(served.end(), (Some(0), String::new()));
}

fn a_job_is_told_as_in_version_1() {
    let mut served = Served::start("act");
    assert_eq!(served.run("a", 2, &json!({})), json!({"done": "a"}));
    let told = served.output();
    assert_eq!(
        (&told["deadline"], &told["job"], &told["attempt"], &told["parallelism"]),
        (&json!("2030-01-02T03:04:05Z"), &json!("a"), &json!(2), &json!(2))
    );
    let progress = fs::read_to_string(served.path("progress")).unwrap();
    assert_eq!(progress.lines().last(), Some("1 1"));
    let mut served = Served::start("bytes");
    assert_eq!(served.run("b", 1, &json!({})), json!({"done": "b"}));
    assert_eq!(fs::read(served.path("output")).unwrap(), [0, 255]);
}

fn an_end_names_whose_fault_it_was() {
    let mut served = Served::start("act");
    let refused = json!({"failed": "a", "reason": "input"});
    assert_eq!(served.run("a", 1, &json!({"do": "refuse"})), refused);
    let failed = json!({"failed": "b", "reason": "error"});
    assert_eq!(served.run("b", 3, &json!({"do": "fail"})), failed);
    // Nobody has asked it to stop.
    let failed = json!({"failed": "c", "reason": "error"});
    assert_eq!(served.run("c", 1, &json!({"do": "say stopped"})), failed);
    assert!(!served.path("output").exists());
    assert_eq!(served.run("d", 2, &json!({})), json!({"done": "d"}));
    let panicked = json!({"failed": "e", "reason": "error", "replace": "the function panicked"});
    assert_eq!(served.run("e", 2, &json!({"do": "panic"})), panicked);
    let (status, said) = served.end();
    assert_eq!(status, Some(0));
    let told = ["bad input at /do: never\n", "no luck\n", "stopped as asked\n", "a bug"];
    assert!(told.iter().all(|words| said.contains(words)), "{said}");
    let mut served = Served::start("act");
    served.begin("f", 2, &json!({"do": "exit"}));
    assert_eq!(exit_within(&mut served.child, Duration::from_secs(5)), Some(9));
}

fn what_a_job_leaves_costs_the_process() {
    for (what, told) in [
        ("thread", "1 threads"),
        ("global pool", "1 threads"),
        ("open", "open"),
        ("environment", "environment"),
        ("directory", "working directory"),
        ("mask", "mask"),
    ] {
        let mut served = Served::start("act");
        assert_eq!(served.run("a", 2, &json!({})), json!({"done": "a"}));
        let answer = served.run("b", 2, &json!({"do": what}));
        assert_eq!(answer["done"], "b");
        assert!(
            answer["replace"].as_str().is_some_and(|why| why.contains(told)),
            "{what}: {answer}"
        );
    }
    for what in ["detached", "ended thread"] {
        let mut served = Served::start("act");
        let start = Instant::now();
        assert_eq!(served.run("a", 2, &json!({"do": what})), json!({"done": "a"}));
        assert!(what != "detached" || start.elapsed() >= Duration::from_millis(100));
    }
}

fn a_cancel_ends_the_job_and_keeps_the_process() {
    let mut served = Served::start("act");
    for parallelism in [1, 3] {
        served.begin("a", parallelism, &json!({"do": "spin"}));
        served.computes();
        served.say(&json!({"cancel": "another"}));
        served.say(&json!({"cancel": "a"}));
        assert_eq!(served.heard(), json!({"cancelled": "a"}));
        assert!(!served.path("output").exists());
        // One that comes when the job is over asks for nothing.
        assert_eq!(served.run("b", 2, &json!({})), json!({"done": "b"}));
        served.say(&json!({"cancel": "b"}));
        assert_eq!(served.run("c", 2, &json!({})), json!({"done": "c"}));
    }
    assert_eq!(served.end().0, Some(0));
}

fn sigterm_ends_the_process_at_rest_and_at_work() {
    let mut served = Served::start("act");
    assert_eq!(served.run("a", 2, &json!({})), json!({"done": "a"}));
    terminate(&served.child);
    assert_eq!(exit_within(&mut served.child, Duration::from_secs(5)), Some(143));
    let mut served = Served::start("act");
    served.begin("a", 2, &json!({"do": "spin"}));
    served.computes();
    terminate(&served.child);
    assert_eq!(exit_within(&mut served.child, Duration::from_secs(5)), Some(143));
    assert!(!served.path("output").exists());
}

fn the_end_of_the_socket_ends_the_process() {
    assert_eq!(Served::start("act").end(), (Some(0), String::new()));
    let mut served = Served::start("act");
    served.begin("a", 3, &json!({"do": "spin"}));
    served.computes();
    assert_eq!(served.end(), (Some(0), String::new()));
}

fn nonsense_from_the_worker_ends_the_process() {
    for line in ["nonsense", "{}", r#"{"job": "a", "parallelism": 0}"#] {
        let mut served = Served::start("act");
        writeln!(served.stream, "{line}").unwrap();
        let status = exit_within(&mut served.child, Duration::from_secs(5));
        assert!(status.is_some_and(|status| status != 0), "{line}");
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("function:act").env("WINDLASS_SERVE", "/nowhere").stderr(Stdio::piped());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.starts_with(b"WINDLASS_SERVE is /nowhere"));
}

/// From the job's line to its answer, without what a worker does besides.
fn a_tiny_job_costs_less_than_a_process() {
    let mut served = Served::start("bytes");
    let mut times = Vec::new();
    for number in 0..2000 {
        let line = served.prepare("a", 1, &json!(number));
        let start = Instant::now();
        served.say(&line);
        assert_eq!(served.heard(), json!({"done": "a"}));
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let (best, median) = (times[times.len() / 10], times[times.len() / 2]);
    println!("one of ten jobs takes {best:?} at most, half of them {median:?}");
    // About 0.1 ms on a machine at rest. The bound is loose: other tests run beside this one.
    assert!(best < Duration::from_millis(1), "{best:?}");
}
