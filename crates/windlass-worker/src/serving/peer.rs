//! Whose process has connected to a socket: the function's, or somebody else's who may connect as well.

use std::fs;

use rustix::process::{Pid, getsid};

/// Most generations between a function's first process and the one that connects.
const MOST_GENERATIONS: usize = 64;

/// Whether a process is the function's first one, of its session, or a descendant of it.
pub(super) fn is_of(function: Pid, process: Pid) -> bool {
    let generations = std::iter::successors(Some(process), |process| parent_of(*process));
    let is_function = |it: Pid| it == function || getsid(Some(it)) == Ok(function);
    generations.take(MOST_GENERATIONS).any(is_function)
}

fn parent_of(process: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    // Its name, in parentheses, may have anything in it.
    let (_, after_name) = stat.rsplit_once(')')?;
    Pid::from_raw(after_name.split_whitespace().nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that does this and waits, and the process id that it says.
    fn shell(script: &str) -> (Child, Pid) {
        let mut shell = Command::new("sh");
        let script = format!("{script}; read end");
        shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        (shell, Pid::from_raw(said.trim().parse().unwrap()).unwrap())
    }

    #[test]
    fn a_function_has_its_descendants_and_no_process_beside_them() {
        let (mut function, grandchild) = shell("setsid sleep 60 & echo $!");
        let (mut other, _) = shell("echo $$");
        let [first, beside] = [&function, &other].map(Pid::from_child);
        let told =
            [first, grandchild, beside, rustix::process::getpid()].map(|it| is_of(first, it));
        rustix::process::kill_process(grandchild, rustix::process::Signal::KILL).unwrap();
        for shell in [&mut function, &mut other] {
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }
        assert_eq!(told, [true, true, false, false]);
    }
}
