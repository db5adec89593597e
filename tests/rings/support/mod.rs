//! What the rings share.

pub(crate) mod cluster;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod outage;
pub(crate) mod random;
pub(crate) mod ready;
pub(crate) mod release;
pub(crate) mod server;
pub(crate) mod uploads;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The windlass program that was built beside this test.
pub(crate) fn windlass() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/TRIPLE/PROFILE/deps/rings-HASH -> target/TRIPLE/PROFILE/windlass
    let path = test.parent().unwrap().parent().unwrap().join("windlass");
    assert!(path.is_file(), "{} is missing: cargo build --release", path.display());
    path
}

/// The top of the checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Runs windlass in the top of the checkout and waits for its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(windlass()).args(arguments).current_dir(checkout()).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `probe` gives something, at most `limit`; fails with what it was waiting for.
pub(crate) fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    while Instant::now() <= deadline {
        if let Some(found) = probe() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("not within {limit:?}: {what}");
}

/// Puts the times in order and gives the one that so many of a thousand do not exceed.
pub(crate) fn quantile(times: &mut [Duration], of_a_thousand: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * of_a_thousand / 1000).min(times.len() - 1)]
}

/// Prints the medians of two kinds of runs, what was run in the first line, and gives the first's share of the second.
pub(crate) fn share(what: &str, runs: [(&str, Vec<Duration>); 2]) -> f64 {
    println!("{what}, {} runs each, median (minimum - maximum)", runs[0].1.len());
    let [first, second] = runs.map(|(name, mut times)| {
        let [median, least, most] =
            [500, 0, 1000].map(|part| quantile(&mut times, part).as_secs_f64());
        println!("{name}  {median:.3} s ({least:.3} - {most:.3})");
        median
    });
    let share = first / second;
    println!("ratio {share:.3}");
    share
}

/// Where functions leave traces: not directly in a directory that has the server's data directory in it, since there
/// they may create nothing.
pub(crate) fn traces(here: &Path) -> PathBuf {
    here.join("traces")
}

/// Writes a function's manifest: a shell script, with `$HERE` as the directory of its [`traces`].
pub(crate) fn script(here: &Path, name: &str, script: &str, fields: &str) {
    std::fs::create_dir_all(traces(here)).unwrap();
    let traces = traces(here);
    let here_text = traces.display();
    let command = serde_json::to_string(&["sh", "-c", script]).unwrap();
    let manifest = format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ComputeFunction\nmetadata: {{name: {name}}}\n\
         spec:\n  command: {command}\n  contentType: text/plain\n  \
         env: [{{name: HERE, value: {here_text}}}]\n  {fields}\n"
    );
    std::fs::write(here.join(format!("{name}.yaml")), manifest).unwrap();
}

/// Writes a program: a text that the kernel runs, or cannot run, by its first line.
pub(crate) fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Processes whose command line or environment names this text, but for this one.
pub(crate) fn processes_of(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<u32>().is_ok_and(|pid| pid != std::process::id()) {
            let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let (command, environment) = (text(&read("cmdline")), text(&read("environ")));
            if command.contains(mark) || environment.contains(mark) {
                found.push(format!("{name}: {}", command.replace('\0', " ")));
            }
        }
    }
    found
}
