//! How an attempt ends, and what its worker makes of it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use windlass_core::assignment::{Inputs, Order, Program, SourceFile};
use windlass_core::function::EnvVar;
use windlass_core::report::Event;
use windlass_core::result::{inline_bytes, sha256};
use windlass_core::status::FailureReason;
use windlass_core::{BlobRef, Outcome};

use crate::bench::Bench;

#[test]
fn a_success_tells_bytes_digest_times_and_usage() {
    let bench = Bench::new();
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let exited = bench.sh(&format!("{busy}; printf hello > \"$WINDLASS_OUTPUT\"")).exited();
    assert_eq!(exited.code, 0, "{exited:#?}");
    let [Event::Running { started, running, process_group }, Event::Finished(ending)] =
        &exited.events[..]
    else {
        panic!("{exited:#?}")
    };
    assert!(process_group.is_some());
    let Outcome::Succeeded(result) = &ending.outcome else { panic!("{ending:#?}") };
    assert_eq!(inline_bytes(result).unwrap(), b"hello");
    assert_eq!((result.bytes, result.text.as_deref()), (5, Some("hello")));
    assert_eq!(result.sha256, sha256(b"hello"));
    assert_eq!(result.content_type, "text/plain");
    assert_eq!((ending.started, ending.running), (*started, Some(*running)));
    assert!(started <= running && *running <= ending.finished, "{ending:#?}");
    assert_eq!(ending.parallelism, 2);
    let usage = ending.usage.as_ref().unwrap();
    assert!(usage.cpu_seconds > 0.0 && usage.efficiency > 0.0, "{usage:?}");
    assert!(usage.efficiency <= 1.0 && usage.peak_memory_bytes > 100_000, "{usage:?}");
    assert_eq!(bench.left_word().as_ref(), Some(ending));
}

#[test]
fn every_byte_of_a_result_is_kept() {
    for (script, bytes) in [
        (r#": > "$WINDLASS_OUTPUT""#, b"".to_vec()),
        (r#"printf '\377\376\0x' > "$WINDLASS_OUTPUT""#, vec![0xff, 0xfe, 0, b'x']),
        (r#"printf 'a\0b' > "$WINDLASS_OUTPUT""#, b"a\0b".to_vec()),
        (r#"printf '\303\244\r\n' > "$WINDLASS_OUTPUT""#, "ä\r\n".into()),
        (r#"head -c 32768 /dev/zero > "$WINDLASS_OUTPUT""#, vec![0; 32_768]),
    ] {
        let result = Bench::new().sh(script).result();
        assert_eq!(inline_bytes(&result), Some(bytes), "{script}");
    }
}

#[test]
fn an_input_that_is_not_the_jobs_is_refused() {
    let mut bench = Bench::new();
    bench.assignment.input_digest = None;
    let succeeds = r#": > "$WINDLASS_OUTPUT""#;
    assert_eq!(
        bench.sh(succeeds).exited().code,
        0,
        "an older controller says nothing of the input"
    );
    for input in ["", r#"{"n":8}"#] {
        let bench = Bench::new();
        std::fs::write(bench.path("input.json"), input).unwrap();
        let (reason, message) = bench.sh(succeeds).failure();
        assert_eq!(reason, FailureReason::CannotStart, "{message}");
        assert!(message.contains("does not hold the job's input"), "{message}");
    }
}

#[test]
fn a_bus_error_says_what_it_often_means() {
    let (reason, message) = Bench::new().sh("kill -BUS $$").failure();
    assert_eq!(reason, FailureReason::Killed);
    assert!(message.contains("signal 7") && message.contains("/dev/shm"), "{message}");
}

#[test]
fn exit_code_65_is_bad_input() {
    let (reason, message) =
        Bench::new().sh(r#": > "$WINDLASS_OUTPUT"; echo "n: too big" >&2; exit 65"#).failure();
    assert_eq!(reason, FailureReason::BadInput);
    assert!(message.ends_with("the end of its stderr:\nn: too big"), "{message}");
}

#[test]
fn another_exit_code_is_a_crash_with_the_end_of_stderr() {
    let bench = Bench::new();
    let script =
        r#"head -c 100000 /dev/zero | tr '\0' x >&2; printf '\033[31mthe end\n' >&2; exit 7"#;
    let (code, ending) = bench.sh(script).ending();
    assert_eq!(code, 1);
    let Outcome::Failed { reason, message, exit_code, partial: None } = &ending.outcome else {
        panic!("{ending:#?}")
    };
    assert_eq!((*reason, *exit_code), (FailureReason::Crashed, Some(7)));
    assert!(message.starts_with("the function exited with code 7; the end of its"), "{message}");
    assert!(message.ends_with("xxx[31mthe end"), "{message}");
    assert!((4_000..5_120).contains(&message.len()), "{}", message.len());
    // As much of it as fits.
    let Some(Outcome::Failed { reason, message, .. }) = bench.left_word().map(|word| word.outcome)
    else {
        panic!("no termination message")
    };
    assert_eq!(reason, FailureReason::Crashed);
    assert!(message.ends_with("xxx[31mthe end"), "{message}");
}

#[test]
fn stderr_is_relayed_as_it_is() {
    let exited = Bench::new().sh(r#"printf 'one\ntwo' >&2; : > "$WINDLASS_OUTPUT""#).exited();
    assert_eq!(exited.stderr, "one\ntwo");
}

#[test]
fn a_function_ended_by_a_signal_was_killed() {
    let (code, ending) = Bench::new().sh(r#": > "$WINDLASS_OUTPUT"; kill -SEGV $$"#).ending();
    assert_eq!(code, 1);
    let Outcome::Failed { reason, message, exit_code, partial: None } = ending.outcome else {
        panic!()
    };
    assert_eq!((reason, exit_code), (FailureReason::Killed, None));
    assert!(message.contains("signal 11"), "{message}");
}

#[test]
fn exit_0_without_a_file_is_no_output() {
    let (reason, message) = Bench::new().sh("echo 42").failure();
    assert_eq!(reason, FailureReason::NoOutput, "{message}");
}

#[test]
fn an_output_that_is_no_regular_file_is_no_output() {
    let bench = Bench::new();
    symlink(bench.path("input.json"), bench.path("work/output")).unwrap();
    let (reason, message) = bench.sh("exit 0").failure();
    assert_eq!(reason, FailureReason::NoOutput);
    assert!(message.contains("no regular file"), "{message}");
    for script in [r#"mkdir "$WINDLASS_OUTPUT""#, r#"mkfifo "$WINDLASS_OUTPUT""#] {
        let (reason, message) = Bench::new().sh(script).failure();
        assert_eq!(reason, FailureReason::NoOutput, "{script}");
        assert!(message.contains("no regular file"), "{script}: {message}");
    }
}

#[test]
fn a_result_that_is_called_json_is_json_by_the_rule_of_inputs() {
    let given = |json: &str| {
        let mut bench = Bench::new();
        bench.assignment.content_type = "application/json".into();
        fs::write(bench.path("given"), json).unwrap();
        bench
    };
    let script = r#"cp "$DIR/given" "$WINDLASS_OUTPUT""#;
    let large = format!("[{}1]", "1, ".repeat(20_000));
    for (bad, word) in [
        ("", "EOF"),
        ("hello", "expected value"),
        (r#"{"a": 1, "a": 2}"#, "is there twice"),
        (r#"["\ud800"]"#, "hex escape"),
        ("[9223372036854775808]", "integers are from"),
        (&large.replace("1]", "x]"), "expected value"),
    ] {
        let bench = given(bad);
        let (reason, message) = bench.sh(script).failure();
        assert_eq!(reason, FailureReason::NoOutput, "{bad}");
        assert!(message.contains("that is not JSON") && message.contains(word), "{message}");
    }
    let good = r#"{"a": [1, {"a": "\ud83d\ude00"}]}"#;
    let bench = given(good);
    assert_eq!(bench.sh(script).result().text.as_deref(), Some(good));
}

#[test]
fn more_than_the_allowed_bytes_are_too_large_and_exactly_as_many_are_not() {
    let mut bench = Bench::new();
    bench.assignment.max_result_bytes = 10;
    let (reason, message) = bench.sh(r#"printf 12345678901 > "$WINDLASS_OUTPUT""#).failure();
    assert_eq!(reason, FailureReason::ResultTooLarge);
    assert!(message.contains("11 bytes") && message.contains("10"), "{message}");
    assert_eq!(bench.sh(r#"printf 1234567890 > "$WINDLASS_OUTPUT""#).result().bytes, 10);
}

const A_BYTE_TOO_MANY: &str = r#"head -c 32769 /dev/zero > "$WINDLASS_OUTPUT""#;

#[test]
fn more_than_32_kib_without_a_place_for_it_are_too_large() {
    let (reason, message) = Bench::new().sh(A_BYTE_TOO_MANY).failure();
    assert_eq!(reason, FailureReason::ResultTooLarge);
    assert!(message.contains("32769 bytes") && message.contains("32768"), "{message}");
}

#[test]
fn more_than_32_kib_become_a_file_of_the_results() {
    let mut bench = Bench::new();
    std::fs::create_dir(bench.path("results")).unwrap();
    bench.assignment.results = Some(bench.path("results").to_str().unwrap().into());
    let result = bench.sh(A_BYTE_TOO_MANY).result();
    assert_eq!((&result.text, &result.base64), (&None, &None));
    assert_eq!((result.bytes, &result.sha256), (32_769, &sha256(&[0; 32_769])));
    let stored = bench.path("results").join(result.location.as_ref().unwrap());
    assert_eq!(std::fs::read(stored).unwrap(), [0; 32_769]);
    // A place, so that nothing is lost when the report reaches nobody.
    assert_eq!(bench.left_word().unwrap().outcome, Outcome::Succeeded(result));
}

#[test]
fn a_program_that_does_not_exist_cannot_be_started() {
    let bench = Bench::new();
    let exited = bench.start(&["/nowhere/program", "x"]).exited();
    assert_eq!(exited.code, 1, "{exited:#?}");
    let [Event::Finished(ending)] = &exited.events[..] else { panic!("{exited:#?}") };
    let Outcome::Failed { reason, message, .. } = &ending.outcome else { panic!("{ending:#?}") };
    assert_eq!((*reason, ending.running), (FailureReason::CannotStart, None));
    assert!(message.contains("/nowhere/program"), "{message}");
    // What env(1) and a shell say of it counts the same.
    assert_eq!(bench.start(&["env", "/nowhere/program"]).failure().0, FailureReason::CannotStart);
}

#[test]
fn a_worker_without_a_command_waits_for_its_order() {
    let bench = Bench::new();
    let script = "echo $GREETING $PWD > $WINDLASS_OUTPUT";
    let order = Order {
        assignment: bench.assignment.clone(),
        program: Program {
            command: ["sh", "-c", script].map(str::to_owned).into(),
            env: vec![EnvVar { name: "GREETING".into(), value: "hello".into() }],
            directory: Some("/".into()),
            hidden: None,
            run_as: None,
        },
        serves: false,
    };
    let mut worker = bench.start(&[]);
    worker.order(&order);
    assert_eq!(worker.result().text.as_deref(), Some("hello /\n"));
}

#[test]
fn a_worker_whose_server_goes_before_it_gives_an_order_is_done() {
    let mut worker = Bench::new().start(&[]);
    worker.hang_up();
    let exited = worker.exited();
    assert_eq!((exited.code, exited.stderr.as_str()), (0, ""), "{exited:#?}");
}

#[test]
fn a_missing_interpreter_is_blamed_for_itself_alone() {
    let mut bench = Bench::new();
    let script = |name: &str, text: String| {
        let path = bench.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let broken = script("broken", "#!/nowhere/interpreter\n".to_owned());
    let by_broken = script("by-broken", format!("#!{broken}\n"));
    let said = |bench: &Bench, program: &str| bench.start(&[program]).failure().1;
    let blame = r#"the file is there, and its interpreter "/nowhere/interpreter" is not"#;
    assert!(said(&bench, &broken).ends_with(blame));
    // Its interpreter is there, and cannot be started itself.
    let message = said(&bench, &by_broken);
    assert!(message.ends_with(": No such file or directory (os error 2)"), "{message}");
    let path = Some(bench.path("no-blob").to_str().unwrap().to_owned());
    let blob = BlobRef { sha256: sha256(b"x"), bytes: 1, media_type: "text/plain".into() };
    let input = Some(SourceFile { path, blob });
    bench.assignment.inputs = Some(Inputs { input, files: BTreeMap::new() });
    bench.assignment.input_digest = None;
    bench.assignment.input = bench.path("work/input/input").to_str().unwrap().to_owned();
    let message = said(&bench, &broken);
    assert!(message.contains("the input: its blob is lost"), "{message}");
}

#[test]
fn an_empty_command_cannot_be_started() {
    let bench = Bench::new();
    let (command, env) = (Vec::new(), Vec::new());
    let program = Program { command, env, directory: None, hidden: None, run_as: None };
    let mut worker = bench.start(&[]);
    worker.order(&Order { assignment: bench.assignment.clone(), program, serves: false });
    assert_eq!(worker.failure().0, FailureReason::CannotStart);
}

#[test]
fn an_assignment_that_cannot_be_read_is_exit_code_2() {
    for assignment in ["", "{}", "{\"job\":1}"] {
        let bench = Bench::new();
        let exited =
            bench.start_with(&["touch", bench.path("ran").to_str().unwrap()], assignment).exited();
        assert_eq!(exited.code, 2, "{exited:#?}");
        assert!(exited.stderr.contains("WINDLASS_ASSIGNMENT"), "{exited:#?}");
        assert!(!bench.path("ran").exists());
    }
}
