//! Completion scripts of shells.

use super::without_settings;
use crate::support::{text, windlass};

#[test]
fn shells_can_complete() {
    for (shell, expected) in
        [("bash", "complete -F"), ("zsh", "#compdef windlass"), ("fish", "complete -c windlass")]
    {
        let output = without_settings(&windlass()).args(["completion", shell]).output().unwrap();
        let script = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(script.contains(expected) && script.contains("idempotency-key"), "{shell}");
        assert!(!script.contains("Supervise one attempt"), "{shell} knows what nobody types");
    }
}
