//! A function and the server's own files.

use serde_json::json;

use super::here;
use crate::support::script;
use crate::support::server::Server;

/// What a function of this server finds in the server's token file.
fn token_read_by_a_function(more: &[&str]) -> (Server, String) {
    let here = here();
    let read = "cat $(dirname $WINDLASS_INPUT)/../../token > $WINDLASS_OUTPUT; exit 0";
    script(here.path(), "reads", read, "retries: 0");
    let server = Server::start(&[more, &["--functions", here.path().to_str().unwrap()]].concat());
    let ended = server.client.run(&json!({ "function": "reads" }));
    let found = ended["status"]["result"]["text"].as_str().unwrap_or_else(|| panic!("{ended}"));
    let found = found.to_owned();
    (server, found)
}

#[test]
fn a_function_reads_the_token_only_where_it_is_not_kept_out() {
    let (server, found) = token_read_by_a_function(&["--landlock", "on"]);
    assert_eq!(found, "");
    drop(server);
    let (server, found) = token_read_by_a_function(&["--landlock", "off"]);
    assert_eq!(found.trim(), server.client.token);
    assert!(server.said().contains("functions can read the data directory"), "{}", server.said());
}
