//! What a function that is kept out of a directory can do there, and what it can do elsewhere.

use std::fs;

use windlass_core::assignment::{Order, Program};

use crate::bench::Bench;

/// The attempt's directory stands for the server's: it holds a token, and the attempt's own files.
fn said_by(bench: &Bench, script: &str) -> String {
    fs::write(bench.path("token"), "secret").unwrap();
    let order = Order {
        assignment: bench.assignment.clone(),
        program: Program {
            command: ["sh", "-c", script].map(str::to_owned).into(),
            env: Vec::new(),
            directory: Some(bench.assignment.work.clone()),
            hidden: Some(fs::canonicalize(bench.path("")).unwrap().to_str().unwrap().to_owned()),
            run_as: None,
        },
        serves: false,
    };
    let mut worker = bench.start(&[]);
    worker.order(&order);
    worker.result().text.unwrap()
}

/// Does each of these, and gives those that succeeded.
fn done(bench: &Bench, attempts: &[&str]) -> Vec<String> {
    let each = |attempt: &&str| format!("( {attempt} ) >/dev/null 2>&1 && echo '{attempt}'\n");
    let script: String = attempts.iter().map(each).collect();
    let script = format!("exec > \"$WINDLASS_OUTPUT\"\necho begun\n{script}echo over");
    let said = said_by(bench, &script);
    let lines: Vec<&str> = said.lines().collect();
    let [begin, done @ .., over] = lines.as_slice() else { panic!("{said}") };
    assert_eq!((*begin, *over), ("begun", "over"), "{said}");
    done.iter().map(|&line| line.to_owned()).collect()
}

#[test]
fn a_function_reaches_nothing_of_the_hidden_directory() {
    let bench = Bench::new();
    let none: [String; 0] = [];
    let tried = [
        "cat ../token",
        "cat \"$DIR/token\"",
        "ln -s ../token link && cat link",
        "ln ../token hard",
        "cat /proc/self/cwd/../token",
        "cat /proc/$PPID/cwd/token",
        "cat \"/proc/$PPID/root$DIR/token\"",
        "mv ../token stolen",
        "rm ../token",
        "echo mine > ../token",
        "echo mine > ../keys.json",
        "ln -s /dev/null ../keys.json",
        "mkdir ../new",
        "mv ../work ../elsewhere",
        "mv \"$DIR\" \"$DIR.gone\"",
        "kill -STOP $PPID",
    ];
    assert_eq!(done(&bench, &tried), none);
    assert_eq!(fs::read_to_string(bench.path("token")).unwrap(), "secret");
}

#[test]
fn a_function_does_as_it_likes_elsewhere() {
    let bench = Bench::new();
    let other = tempfile::tempdir().unwrap();
    let other = other.path().to_str().unwrap();
    let tried = [
        "grep -q 7 \"$WINDLASS_INPUT\"",
        "echo 1 > own && mv own owner && mkdir -p deep/er && mv owner deep/er/ && rm -r deep",
        &format!(
            "echo 1 > {other}/a && mv {other}/a {other}/b && mkdir {other}/c && mv {other}/b {other}/c/"
        ),
        "echo \"{}\" > \"$WINDLASS_PROGRESS\"",
        "ls / /tmp",
        "echo 1 > /dev/null",
        "sleep 100 & kill $! && ! wait $!",
        "cat /proc/self/status",
    ];
    assert_eq!(done(&bench, &tried), tried);
}
