//! An error says what to do next.

use std::fs;
use std::process::Command;

use super::{kubeconfig_of, run_windlass, without_settings};
use crate::support::server::Server;
use crate::support::{checkout, text, windlass};

#[test]
fn an_error_says_what_to_do_next() {
    let server = Server::start(&["--cpus", "1"]);
    let url = format!("http://{}", server.client.address);
    let data = server.data().to_str().unwrap();
    let run = |configure: &dyn Fn(&mut Command), arguments: &[&str]| {
        let mut command = without_settings(&windlass());
        configure(&mut command);
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    // The token of this machine's server is found, and given to nobody else.
    let (code, said) = run(&|_| {}, &["list", "--server", &url, "--data", data]);
    assert_eq!(code, Some(0), "{said}");
    // Its address is found there as well.
    let (code, said) = run(&|_| {}, &["list", "--data", data]);
    assert_eq!(code, Some(0), "{said}");
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("windlass")).unwrap();
    fs::write(home.path().join("windlass/token"), &server.client.token).unwrap();
    let at_home = |command: &mut Command| {
        command.env("XDG_DATA_HOME", home.path());
    };
    let (code, said) = run(&at_home, &["list", "--server", &url]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&at_home, &["list", "--server", "http://windlass.example"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("WINDLASS_TOKEN"), "{said}");

    let wrong = |command: &mut Command| {
        command.env("WINDLASS_TOKEN", "wrong");
    };
    let (code, said) = run(&wrong, &["list", "--server", &url]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("token") && said.contains("--data"), "{said}");
    assert!(said.contains("WINDLASS_TOKEN_FILE"), "{said}");
    // A link with a token that opens nothing would lead to an empty page.
    let (code, said) = run(&wrong, &["dashboard", "--server", &url]);
    assert_eq!(code, Some(3), "{said}");
    for arguments in [&["list"][..], &["functions"], &["submit", "echo"]] {
        let arguments = [arguments, &["-n", "elsewhere", "--server", &url]].concat();
        let (code, said) = run(&at_home, &arguments);
        assert_eq!(code, Some(3), "{arguments:?}: {said}");
        let first = "windlass: nothing was found in namespace \"elsewhere\", or you may not use it";
        assert_eq!(said.lines().next(), Some(first), "{arguments:?}");
        assert!(said.contains("only the namespace `default`"), "{said}");
    }
    let (code, said) = run(&wrong, &["list", "--server", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("does not answer") && said.contains("--server"), "{said}");
    let (code, said) = run(&|_| {}, &["list", "--data", "/nowhere"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("windlass serve") && said.contains("/nowhere/token"), "{said}");

    let kubeconfig = home.path().join("kubeconfig");
    fs::write(&kubeconfig, kubeconfig_of("http://127.0.0.1:1")).unwrap();
    let named = |command: &mut Command| {
        command.env("KUBECONFIG", &kubeconfig);
    };
    let (code, said) = run(&named, &["list", "--context", "other"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no context \"other\"; there are: here"), "{said}");
    let (code, said) = run(&named, &["list"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("kubectl config current-context"), "{said}");
    let (code, said) = run(&|_| {}, &["list", "--kubeconfig", "/nowhere"]);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_with_what_to_do() {
    let certificates = checkout().join("crates/windlass-gateway/tests/certificates");
    let file = |name: &str| certificates.join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("first.crt"), file("first.key"));
    let server = Server::start(&["--tls-cert", &cert, "--tls-key", &key]);
    let url = format!("https://{}", server.client.address);
    let ca = file("second.crt");
    let output = run_windlass(&server, &["list", "--server", &url, "--ca", &ca]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("certificate") && said.contains("--ca FILE"), "{said}");
}
