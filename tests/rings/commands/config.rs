//! The configuration file of `windlass serve`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::without_settings;
use crate::support::server::Server;
use crate::support::{text, windlass};

fn check(file: &Path) -> Output {
    without_settings(&windlass()).args(["config", "check"]).arg(file).output().unwrap()
}

/// Whether a server knows a function.
fn knows(server: &Server, name: &str) -> bool {
    server.client.get(&format!("/v1/namespaces/default/functions/{name}")).status == 200
}

/// How many of twenty requests in a row are too many.
fn refused(server: &Server) -> usize {
    (0..20).filter(|_| server.client.get(&server.client.jobs("")).status == 429).count()
}

#[test]
fn the_command_line_counts_before_the_environment_and_that_before_the_file() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("windlass.toml");
    // The command line of each server names another address.
    let said =
        "listen = '192.0.2.1:1'\ncpus = 3\nrate-limit = 1\nfunction = ['f=true', 'g=true 1']\n";
    fs::write(&file, said).unwrap();
    let flags = ["--config", file.to_str().unwrap()];
    let server = Server::start_at(&here.path().join("first"), &flags);
    assert!(server.before().contains("\"cpus\":3"), "{}", server.before());
    assert!(knows(&server, "f") && knows(&server, "g"));
    assert!(refused(&server) > 0);

    let mut command = Command::new(windlass());
    command.env("WINDLASS_CONFIG", &file).env("WINDLASS_RATE_LIMIT", "1000000");
    let flags = ["--cpus", "2", "--function", "h=true"];
    let server = Server::start_by(command, &here.path().join("second"), &flags);
    assert!(server.before().contains("\"cpus\":2"), "{}", server.before());
    assert!(knows(&server, "h") && !knows(&server, "f"));
    assert_eq!(refused(&server), 0);
}

#[test]
fn a_wrong_file_is_refused_with_the_place_and_the_reason() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("windlass.toml");
    for (wrong, why) in [
        ("lisen = 'x'", "lisen: there is no such key; did you mean `listen`?"),
        ("max_queued = 1", "max_queued: there is no such key; did you mean `max-queued`?"),
        ("config = 'other'", "config: there is no such key"),
        ("[server]\nlisten = 'x'", "server: there is no such key"),
        ("cpus = 0", "cpus: \"0\": 0 is not in 1..=1024"),
        ("cpus = [1]", "cpus: it has one value, not a list"),
        ("cpus = true", "cpus: boolean is no string and no whole number"),
        ("host = ['a', 3.5]", "host[1]: float is no string and no whole number"),
        ("landlock = 'maybe'", "landlock: \"maybe\": it is none of auto, on, off"),
        ("max-stored = '9X'", "max-stored: \"9X\": it is no quantity"),
        ("grace = 1\ngrace = 2", "duplicate key"),
        ("cpus = ", "line 1"),
    ] {
        fs::write(&file, wrong).unwrap();
        let flags = ["--config", file.to_str().unwrap()];
        let started =
            Server::try_start(Command::new(windlass()), &here.path().join("data"), &flags);
        let (status, log) = started.err().unwrap();
        let checked = check(&file);
        let told = text(&checked.stderr);
        assert_eq!((status.code(), checked.status.code()), (Some(2), Some(2)), "{wrong}: {told}");
        for said in [told, log.replace("\\\"", "\"")] {
            assert!(said.contains(file.to_str().unwrap()) && said.contains(why), "{wrong}: {said}");
        }
    }
    let missing = check(&here.path().join("no.toml"));
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("no.toml: No such file"), "{missing:?}");
}

#[test]
fn what_a_server_would_refuse_is_found_by_a_check() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("windlass.toml");
    for (wrong, why) in [
        ("tls-cert = 'cert.pem'", "it lacks --tls-key"),
        ("listen = '0.0.0.0:7070'", "0.0.0.0:7070 is not loopback"),
        ("host = ['UPPER']", "\"UPPER\" is no NAME"),
        ("functions = ['/no/such/place']", "/no/such/place"),
        ("function = ['f=true']\npass-env = ['WINDLASS_TOKEN']", "/spec/passEnv/0"),
    ] {
        fs::write(&file, wrong).unwrap();
        let checked = check(&file);
        assert_eq!(checked.status.code(), Some(2), "{wrong}");
        assert!(text(&checked.stderr).contains(why), "{wrong}: {}", text(&checked.stderr));
    }
}

#[test]
fn a_file_with_every_flag_and_its_default_is_printed() {
    let run = |words: &[&str]| {
        let output = without_settings(&windlass()).args(words).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let printed = run(&["config", "print"]);
    let settings: Vec<_> = printed
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
        .collect();
    let keys: BTreeSet<_> =
        settings.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let help = run(&["serve", "--help"]);
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let mut flags: BTreeSet<_> =
        flags.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert!(flags.remove("config"), "{help}");
    assert_eq!(keys, flags);

    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("windlass.toml");
    fs::write(&file, &printed).unwrap();
    assert!(text(&check(&file).stdout).contains("0 settings"));
    // What has no default stands there by the name of its value.
    let defaults: Vec<_> = settings.into_iter().filter(|line| !line.contains('<')).collect();
    fs::write(&file, defaults.join("\n")).unwrap();
    let checked = check(&file);
    let all = format!("{} settings", defaults.len());
    assert!(defaults.len() > 4 && text(&checked.stdout).contains(&all), "{checked:?}");
}
