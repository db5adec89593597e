//! A load that takes much memory of a server for a while.

use serde_json::json;

use super::http::Client;

const JOBS: usize = 150;
const CONNECTIONS: usize = 8;

/// Submits large jobs that do not end, lists them all from several connections at once, and deletes them.
pub(crate) fn large_answers(client: &Client, function: &str) {
    let input = json!({ "text": "x".repeat(100_000) });
    let names: Vec<_> = (0..JOBS).map(|number| format!("large-{number}")).collect();
    for name in &names {
        let job = json!({ "function": function, "name": name, "input": input });
        assert_eq!(client.submit(&job).status, 201);
    }
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                for _ in 0..4 {
                    let answer = client.get(&client.jobs("?limit=500"));
                    assert!(answer.body.len() > JOBS * 100_000, "{}", answer.body.len());
                }
            });
        }
    });
    for name in &names {
        assert_eq!(client.send("DELETE", &client.jobs(&format!("/{name}")), &[], b"").status, 204);
    }
}
