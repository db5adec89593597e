//! Whose a data directory is: this user's alone, and nobody else may read or write what is in it.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::process::geteuid;
use tracing::info;
use windlass_worker::private_files;

mod contents;
mod stays_closed;

use contents::{check_contents, check_owner};
pub(crate) use stays_closed::keep_closed;

/// What a server keeps in its data directory.
const ENTRIES: [&str; 8] = [
    "attempts",
    "results",
    "logs",
    "blobs",
    "lock",
    "jobs.sqlite",
    "jobs.sqlite-wal",
    "jobs.sqlite-shm",
];

/// The secrets of a data directory. One that others could read is refused by who reads it, and so is
/// not closed here as if nothing had happened.
pub(crate) const SECRETS: [&str; 2] = ["token", "keys.json"];

/// Makes a data directory that nobody else can look into, or takes over one that is there. It is
/// refused where somebody else could have written, because then nobody knows what is in it.
pub(crate) fn claim_directory(data: &Path) -> io::Result<()> {
    claim(data, geteuid().as_raw())
}

/// The same for a command beside the server: root may look after the directory of a server that runs
/// as somebody else.
pub fn claim_directory_of_server(data: &Path) -> io::Result<()> {
    private_files::make_directory(data)?;
    let user = geteuid();
    claim(data, if user.is_root() { fs::metadata(data)?.uid() } else { user.as_raw() })
}

fn claim(data: &Path, owner: u32) -> io::Result<()> {
    private_files::make_directory(data)?;
    let mut found = fs::metadata(data)?;
    // A new file system is open to all. What nobody has used is closed, and was used by nobody meanwhile.
    if found.uid() == owner && found.mode() & 0o022 != 0 && has_nothing_but(data, &[NEW])? {
        close_to_others(data, &found)?;
        if has_nothing_but(data, &[NEW])? {
            found = fs::metadata(data)?;
        }
    }
    check_owner(data, &found, owner)?;
    check_contents(data, &found, owner)?;
    for (name, is_secret) in
        ENTRIES.iter().map(|name| (name, false)).chain(SECRETS.iter().map(|name| (name, true)))
    {
        let path = data.join(name);
        match fs::symlink_metadata(&path) {
            Ok(link) => {
                check_owner(&path, &link, owner)?;
                let found = fs::metadata(&path)?;
                check_owner(&path, &found, owner)?;
                if !is_secret {
                    close_to_others(&path, &found)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    close_to_others(data, &found)
}

/// What some file systems have from the start.
pub(crate) const NEW: &str = "lost+found";

/// Whether nothing is in a directory, but for these.
pub(crate) fn has_nothing_but(directory: &Path, names: &[&str]) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let found = entry?.file_name();
        if !names.iter().any(|name| found == *name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens a secret of a data directory, or what it is a link to, where nobody but the directory's user could have
/// written it. `None` where there is none.
pub(crate) fn open_secret(data: &Path, name: &str) -> io::Result<Option<File>> {
    let path = data.join(name);
    let link = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        link => link?,
    };
    let owner = fs::metadata(data)?.uid();
    check_owner(&path, &link, owner)?;
    let found = fs::metadata(&path)?;
    check_owner(&path, &found, owner)?;
    if !found.is_file() {
        let why = format!("{} is no regular file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    File::open(&path).map(Some)
}

/// Others may pass through a directory to files of theirs: see [`let_pass`].
fn close_to_others(path: &Path, found: &Metadata) -> io::Result<()> {
    let mode = found.mode() & 0o7777;
    let open = if found.is_dir() { 0o066 } else { 0o077 };
    if mode & open == 0 {
        return Ok(());
    }
    info!(path = %path.display(), "closed to other users, who could read it");
    fs::set_permissions(path, Permissions::from_mode(mode & 0o700))
}

/// Says of a directory of ours whether other users may pass through it, to files that they were given. They can
/// list nothing, and all else in it is closed to them.
pub(crate) fn let_pass(directory: &Path, others: bool) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(if others { 0o711 } else { 0o700 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(data: &Path) -> String {
        claim_directory(data).unwrap_err().to_string()
    }

    #[test]
    fn an_old_directory_is_closed_and_one_that_others_may_write_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let data = here.path().join("data");
        claim_directory(&data).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&data), 0o700);
        for (name, closed) in [("jobs.sqlite", 0o600), ("token", 0o644)] {
            fs::write(data.join(name), "").unwrap();
            set_mode(&data.join(name), 0o644);
            set_mode(&data, 0o755);
            claim_directory(&data).unwrap();
            assert_eq!((mode(&data), mode(&data.join(name))), (0o700, closed), "{name}");
            for open in [0o660, 0o606] {
                set_mode(&data.join(name), open);
                let why = refusal(&data);
                assert!(why.contains(name) && why.contains("written by other users"), "{why}");
            }
            set_mode(&data.join(name), 0o600);
        }
        set_mode(&data, 0o1777);
        assert!(refusal(&data).contains("written by other users"));
        let unused = here.path().join("unused");
        fs::create_dir(&unused).unwrap();
        set_mode(&unused, 0o1777);
        claim_directory(&unused).unwrap();
        assert_eq!(mode(&unused), 0o700);
    }

    #[test]
    fn what_others_could_have_come_to_is_looked_through() {
        let here = tempfile::tempdir().unwrap();
        let data = here.path().join("data");
        claim_directory(&data).unwrap();
        for (directory, file) in [
            ("results", "results/uid-1"),
            ("logs", "logs/uid-1"),
            ("blobs/new", "blobs/new/one"),
            ("attempts/1", "attempts/1/attempt.json"),
        ] {
            let (directory, file) = (data.join(directory), data.join(file));
            let above = directory.parent().filter(|above| *above != data);
            fs::create_dir_all(&directory).unwrap();
            fs::write(&file, "").unwrap();
            set_mode(&file, 0o666);
            let open = |mode: u32| {
                for path in [Some(directory.as_path()), above, Some(data.as_path())] {
                    path.iter().for_each(|path| set_mode(path, mode));
                }
            };
            open(0o755);
            let why = refusal(&data);
            assert!(why.contains(file.to_str().unwrap()), "{why}");
            assert!(why.contains("written by other users"), "{why}");
            // Nobody else could come to it.
            open(0o700);
            claim_directory(&data).unwrap();
            set_mode(&file, 0o600);
            open(0o755);
            claim_directory(&data).unwrap();
        }
        // What a function leaves is its own.
        fs::create_dir(data.join("attempts/1/work")).unwrap();
        set_mode(&data.join("attempts/1/work"), 0o777);
        set_mode(&data, 0o755);
        claim_directory(&data).unwrap();
    }

    #[test]
    fn a_link_is_judged_by_itself_and_by_what_it_leads_to() {
        let here = tempfile::tempdir().unwrap();
        let data = here.path().join("data");
        claim_directory(&data).unwrap();
        let elsewhere = here.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, data.join("results")).unwrap();
        set_mode(&elsewhere, 0o777);
        let why = refusal(&data);
        assert!(why.contains("results may be written by other users"), "{why}");
        set_mode(&elsewhere, 0o755);
        claim_directory(&data).unwrap();
        assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o7777, 0o700);
        if geteuid().is_root() {
            let link = data.join("results");
            std::os::unix::fs::lchown(&link, Some(4_711), None).unwrap();
            assert!(refusal(&data).contains("belongs to user 4711"));
        }
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        if !geteuid().is_root() {
            println!("not tested: only root can give files away");
            return;
        }
        let here = tempfile::tempdir().unwrap();
        let data = here.path().join("data");
        claim_directory(&data).unwrap();
        let file = data.join("lock");
        fs::write(&file, "").unwrap();
        for path in [&file, &data] {
            std::os::unix::fs::chown(path, Some(4_711), None).unwrap();
            assert!(refusal(&data).contains("belongs to user 4711"));
        }
        // Root makes keys there all the same.
        claim_directory_of_server(&data).unwrap();
    }
}
