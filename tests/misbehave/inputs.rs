//! What a function sees of inputs of any type, and of files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use windlass_core::contract;
use windlass_core::result::hex;

/// Does what the command says: `sees`, `sees-later` or `copies`.
pub(crate) fn run(mode: &str, output: &str) -> io::Result<()> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let input = variable(contract::INPUT);
    match mode {
        // The input comes back, with its type.
        "copies" => {
            fs::write(variable(contract::OUTPUT_TYPE), variable(contract::INPUT_TYPE))?;
            fs::copy(input, output).map(drop)
        }
        // The first attempt spoils all that it has got, and fails.
        "sees-later" if variable(contract::ATTEMPT) == "1" => {
            fs::write(&input, "spoiled")?;
            for (path, _) in files(&variable(contract::FILES))? {
                fs::remove_file(path)?;
            }
            Err(io::Error::other("the first attempt fails"))
        }
        _ => {
            let mut hash = Sha256::new();
            let bytes = io::copy(&mut File::open(input)?, &mut hash)?;
            let files: BTreeMap<_, _> = files(&variable(contract::FILES))?.into_values().collect();
            let seen = json!({
                "type": variable(contract::INPUT_TYPE), "sha256": hex(&hash.finalize()), "bytes": bytes,
                "files": files, "workerPeakKib": peak_of_worker(),
            });
            fs::write(output, seen.to_string())
        }
    }
}

/// Path, name and text of each file.
fn files(directory: &str) -> io::Result<BTreeMap<String, (String, String)>> {
    if directory.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found = fs::read_dir(directory)?.map(|entry| {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let text = fs::read_to_string(&path)?;
        Ok((path.to_string_lossy().into_owned(), (name.to_string_lossy().into_owned(), text)))
    });
    found.collect()
}

/// Most memory that the worker has had, in KiB.
fn peak_of_worker() -> Option<u64> {
    let worker = std::os::unix::process::parent_id();
    let status = fs::read_to_string(format!("/proc/{worker}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
