//! The file of a large result, which nobody else can change once it is taken.
//!
//! It is the function's own file, without a copy, where nobody has it open for writing. A function can have handed its
//! descriptor to a process that lives on, or map the file and close it. One that is warm runs on, and has its working
//! directory. So the file is moved first to where no function reaches it, then looked at.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::private_files;

/// Of fcntl: which signal tells of a broken lease. The number is Linux', which the crate `libc` does not have.
const F_SETSIG: libc::c_int = 10;

/// Moves a file, which is open, to a place of the same name or none. `None` when it is another one by now, or of
/// another length.
pub(crate) fn take(file: File, from: &Path, to: &Path, bytes: u64) -> io::Result<Option<File>> {
    match fs::rename(from, to) {
        // To another file system, where a rename cannot go.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            return copy(&file, to, bytes);
        }
        renamed => renamed?,
    }
    let (moved, opened) = (fs::symlink_metadata(to)?, file.metadata()?);
    let is_same = (moved.dev(), moved.ino()) == (opened.dev(), opened.ino());
    if !is_same || !private_files::is_plain(&opened) {
        return Ok(None);
    }
    private_files::make_own(&file)?;
    if may_have_writer(&file) {
        return copy(&file, to, bytes);
    }
    Ok((file.metadata()?.len() == bytes).then_some(file))
}

/// A copy of an open file, in a file of our own, whatever was there. `None` when it has another length by now.
fn copy(file: &File, to: &Path, bytes: u64) -> io::Result<Option<File>> {
    let mut copied = private_files::replace(to)?;
    let mut from = file;
    from.rewind()?;
    let most = bytes.saturating_add(1);
    if io::copy(&mut from.take(most), &mut copied)? != bytes {
        return Ok(None);
    }
    copied.rewind()?;
    Ok(Some(copied))
}

/// Whether anybody may have a file open for writing, or have it mapped so. True where the file system cannot tell.
///
/// The kernel gives a lease for reading on a file that has no writer, and on no other.
#[expect(unsafe_code, reason = "three system calls that touch no memory")]
fn may_have_writer(file: &File) -> bool {
    let descriptor = file.as_raw_fd();
    // Who opens the file just now breaks the lease. That must not end this process, as SIGIO would.
    // SAFETY: fcntl with these commands takes a number, and the descriptor is open.
    let is_calm = unsafe { libc::fcntl(descriptor, F_SETSIG, libc::SIGURG) } == 0;
    // SAFETY: as above.
    let is_leased =
        is_calm && unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_RDLCK) } == 0;
    // SAFETY: as above.
    let is_over =
        is_leased && unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK) } == 0;
    !is_over
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use super::*;

    /// A directory with a file of six bytes, which nobody has open.
    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        fs::write(output(&place), "result").unwrap();
        place
    }

    fn output(place: &tempfile::TempDir) -> PathBuf {
        place.path().join("output")
    }

    fn kept(place: &tempfile::TempDir) -> PathBuf {
        place.path().join("kept")
    }

    fn take_from(place: &tempfile::TempDir, bytes: u64) -> Option<File> {
        take(File::open(output(place)).unwrap(), &output(place), &kept(place), bytes).unwrap()
    }

    /// Whether what is kept is another file than was there.
    fn takes_a_copy(place: &tempfile::TempDir) -> bool {
        let before = fs::metadata(output(place)).unwrap();
        let mut file = take_from(place, 6).unwrap();
        let (mut text, after) = (String::new(), fs::metadata(kept(place)).unwrap());
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), after.mode() & 0o777), ("result", 0o600));
        assert_eq!(file.metadata().unwrap().ino(), after.ino());
        assert!(!output(place).exists());
        after.ino() != before.ino()
    }

    #[test]
    fn a_file_that_nobody_writes_is_kept_without_a_copy() {
        assert!(!takes_a_copy(&place()));
        let place = place();
        let _reader = File::open(output(&place)).unwrap();
        assert!(!takes_a_copy(&place));
    }

    #[test]
    fn what_somebody_still_has_open_for_writing_cannot_change_what_is_kept() {
        let place = place();
        let mut writer = File::options().write(true).open(output(&place)).unwrap();
        assert!(takes_a_copy(&place));
        writer.write_all(b"forged").unwrap();
        assert_eq!(fs::read(kept(&place)).unwrap(), b"result");
    }

    #[test]
    fn what_somebody_still_maps_cannot_change_what_is_kept() {
        let place = place();
        // Its module has a descriptor of its own, which is closed too.
        let mapping = "import mmap, os, sys\n\
            with open(sys.argv[1], 'r+b') as file: mapped = mmap.mmap(file.fileno(), 6)\n\
            os.closerange(3, 100); print('mapped', flush=True)\n\
            sys.stdin.read(); mapped[:] = b'forged'";
        let mut python = Command::new("python3");
        python.args(["-c", mapping]).arg(output(&place));
        let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        python.stdout.as_mut().unwrap().read_exact(&mut [0; 7]).unwrap();
        assert!(takes_a_copy(&place));
        drop(python.stdin.take());
        assert!(python.wait().unwrap().success());
        assert_eq!(fs::read(kept(&place)).unwrap(), b"result");
    }

    #[test]
    fn another_length_or_file_or_a_second_name_is_not_kept() {
        assert!(take_from(&place(), 5).is_none(), "longer than it was");
        let place = place();
        let opened = File::open(output(&place)).unwrap();
        fs::rename(output(&place), place.path().join("second")).unwrap();
        fs::write(output(&place), "forged").unwrap();
        assert!(take(opened, &output(&place), &kept(&place), 6).unwrap().is_none(), "another");
        fs::hard_link(place.path().join("second"), output(&place)).unwrap();
        assert!(take_from(&place, 6).is_none(), "a second name");
    }

    #[test]
    fn a_copy_takes_the_place_of_what_is_there() {
        let place = place();
        std::os::unix::fs::symlink(output(&place), kept(&place)).unwrap();
        let opened = File::open(output(&place)).unwrap();
        assert!(copy(&opened, &kept(&place), 6).unwrap().is_some());
        assert!(!fs::symlink_metadata(kept(&place)).unwrap().is_symlink());
        assert!(copy(&opened, &kept(&place), 5).unwrap().is_none());
    }
}
