//! Where the files of an attempt are, beside those that its order names.

use std::path::{Path, PathBuf};

/// The directory of the files of an attempt whose input is at this path.
pub fn files_directory(input: &Path) -> PathBuf {
    input.with_file_name("files")
}

/// Where a function that writes its result to this path tells the media type of that.
pub(crate) fn type_path(output: &Path) -> PathBuf {
    output.with_file_name("output-type")
}
