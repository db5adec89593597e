//! Why a program that is there cannot be started for want of a file: the kernel means the interpreter that the file names.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use windlass_core::assignment::Program;

/// As much of a first line as the kernel reads.
const LINE_BYTES: u64 = 256;

/// Why a program is not started that is there itself: its interpreter is missing.
pub(crate) fn missing_interpreter(program: &Program) -> Option<String> {
    let name = program.command.first()?;
    let directory = program.directory.as_ref().map(PathBuf::from).unwrap_or_default();
    // The first on the PATH is the one that was meant.
    let found = match name.contains('/') {
        true => Some(directory.join(name)),
        false => {
            let own = program.env.iter().rfind(|variable| variable.name == "PATH");
            let path = own.map(|variable| variable.value.clone().into());
            let path = path.or_else(|| std::env::var_os("PATH"))?;
            std::env::split_paths(&path)
                .map(|each| directory.join(each).join(name))
                .find(|each| each.is_file())
        }
    };
    // One that is there may lack a file of its own, and nobody knows which.
    let named = interpreter(&found?)?;
    let is_missing = matches!(directory.join(&named).try_exists(), Ok(false));
    is_missing.then(|| {
        let ends = if named.ends_with('\r') { ": its lines end as on Windows" } else { "" };
        format!("the file is there, and its interpreter {named:?} is not{ends}")
    })
}

/// The interpreter that a script names in its first line.
fn interpreter(script: &Path) -> Option<String> {
    let mut begin = Vec::new();
    File::open(script).ok()?.take(LINE_BYTES).read_to_end(&mut begin).ok()?;
    let line = begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = line.trim_ascii_start();
    let word = line.split(|byte| [b' ', b'\t'].contains(byte)).next()?;
    Some(String::from_utf8_lossy(word).into_owned())
}
