//! The token with which a server is asked.

use std::io;
use std::path::Path;

use windlass_local::bounded_file;

use crate::flags::bad_usage::BadUsage;
use crate::server::engine_config;

/// Most bytes of a token: with this a request's head is still short enough.
const MAX_TOKEN_BYTES: u64 = 16 << 10;

/// The token for a server: the environment's, that of the file that it names, or the one in the data directory of a
/// server on this machine. That last one is sent to nobody else, unless its directory was named.
pub(super) fn server_token(server: &str, data: Option<&Path>) -> anyhow::Result<String> {
    // Whoever sets one to nothing has none.
    if let Ok(token) = std::env::var("WINDLASS_TOKEN")
        && !token.is_empty()
    {
        return Ok(token);
    }
    let file = std::env::var_os("WINDLASS_TOKEN_FILE").filter(|file| !file.is_empty());
    if let (None, Some(file)) = (data, file) {
        let path = Path::new(&file);
        return read(path).map_err(|error| {
            let path = path.display();
            BadUsage(format!("{path}, which WINDLASS_TOKEN_FILE names: {error}")).into()
        });
    }
    let directory = match data {
        Some(data) => data.to_owned(),
        None if is_loopback(server) => engine_config::data_directory()?,
        None => {
            let why = format!(
                "{server}: its token is needed in WINDLASS_TOKEN or in a file, WINDLASS_TOKEN_FILE"
            );
            return Err(BadUsage(why).into());
        }
    };
    let path = directory.join("token");
    read(&path).map_err(|error| {
        let path = path.display();
        let advice = "the server there makes it when it starts (`windlass serve`); --data names another \
                      data directory, WINDLASS_TOKEN a token, --server a server";
        BadUsage(format!("{path}: {error}: {advice}")).into()
    })
}

/// What a file holds that is a token: some text, and not more than one.
fn read(path: &Path) -> io::Result<String> {
    let text = bounded_file::read(path, MAX_TOKEN_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => io::Error::other("it is too large to be a token"),
        _ => error,
    })?;
    match text.trim() {
        "" => Err(io::Error::other("it is empty, and a token is not")),
        token => Ok(token.to_owned()),
    }
}

/// Whether what is sent to this URL stays on this machine.
pub(super) fn is_loopback(server: &str) -> bool {
    let Ok(uri) = server.parse::<hyper::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_token_holds_one_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (text, expected) in [
            (" abc\n".to_owned(), Ok("abc")),
            (String::new(), Err("empty")),
            ("\n \n".to_owned(), Err("empty")),
            ("a".repeat(16 << 10) + "a", Err("too large")),
        ] {
            std::fs::write(&path, text).unwrap();
            match (read(&path), expected) {
                (Ok(token), Ok(expected)) => assert_eq!(token, expected),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
        // It has no end.
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn only_this_machine_is_given_its_token() {
        for (server, expected) in [
            ("http://127.0.0.1:7070", true),
            ("https://localhost", true),
            ("http://[::1]:7070", true),
            ("http://127.0.0.1.example:7070", false),
            ("https://windlass.example", false),
            ("http://10.0.0.1", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_loopback(server), expected, "{server}");
        }
    }
}
