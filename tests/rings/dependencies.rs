//! What a user's program has to compile.

use std::process::Command;

use crate::support::{checkout, text};

/// Most lines of `cargo tree` for the SDK, the SDK itself included. A Rust function links the SDK, so each crate more
/// is one that every user compiles and trusts.
const MOST_SDK_CRATES: usize = 30;

#[test]
fn a_rust_function_links_few_crates() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--package", "windlass-sdk"])
        .args(["--edges", "normal", "--prefix", "none"])
        .current_dir(checkout())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tree = text(&output.stdout);
    let mut crates: Vec<_> = tree.lines().collect();
    crates.sort_unstable();
    crates.dedup();
    assert!(crates.iter().any(|line| line.starts_with("windlass-sdk ")), "{tree}");
    let core = crates.iter().find(|line| line.starts_with("windlass-core "));
    assert_eq!(core, None, "the SDK links the contract, not the engine");
    let number = crates.len();
    assert!(number <= MOST_SDK_CRATES, "{number} crates:\n{}", crates.join("\n"));
}
