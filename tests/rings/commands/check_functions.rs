//! `windlass functions check`, as a user would type it.

use std::fs;

use crate::support::server::Server;
use crate::support::{run, script, text};

#[test]
fn what_a_function_means_in_each_world_is_told_of_files_and_of_names() {
    let here = tempfile::tempdir().unwrap();
    let pod = |spec: &str| format!("image: i\n  podTemplate: {{ spec: {{ {spec} }} }}");
    script(here.path(), "plain", "exit 0", "");
    script(here.path(), "placed", "exit 0", &pod("nodeSelector: { a: b }"));
    let files = here.path().to_str().unwrap().to_owned();
    let good = run(&["functions", "check", &files]);
    assert!(good.status.success(), "{}", text(&good.stderr));
    let said = text(&good.stdout);
    assert!(said.contains("plain\n  on one machine: runs\n"), "{said}");
    assert!(
        said.contains("  on one machine: runs; nobody looks at image, podTemplate\n"),
        "{said}"
    );
    assert!(said.contains("  on a cluster: does not run: it has no image\n"), "{said}");

    let server = Server::beside(here.path(), &[]);
    let url = format!("http://{}", server.client.address);
    let data = server.data().to_str().unwrap().to_owned();
    let place = ["--server", &url, "--data", &data];
    let named = run(&[&["functions", "check", "placed"], &place[..]].concat());
    assert!(named.status.success(), "{}", text(&named.stderr));
    assert!(
        said.ends_with(&text(&named.stdout)) || said.starts_with(&text(&named.stdout)),
        "{said}"
    );
    assert_eq!(run(&[&["functions", "check", "none"], &place[..]].concat()).status.code(), Some(2));

    script(here.path(), "wrong", "exit 0", &pod("restartPolicy: Never"));
    let wrong = run(&["functions", "check", &files]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = text(&wrong.stdout);
    assert!(said.contains("refused: /podTemplate/spec/restartPolicy"), "{said}");
    assert!(text(&wrong.stderr).contains("wrong"), "{}", text(&wrong.stderr));
    fs::write(
        here.path().join("wrong.yaml"),
        "apiVersion: windlass.dev/v1alpha1\nkind: ComputeFunction\n",
    )
    .unwrap();
    assert_eq!(run(&["functions", "check", &files]).status.code(), Some(2));
    assert_eq!(run(&["functions", "check", "./none"]).status.code(), Some(2));
}
