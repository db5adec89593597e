//! `--function-user`: the user that functions run as.

use std::fs;

use windlass_core::assignment::RunAs;

/// Where this machine's users are.
const PASSWD: &str = "/etc/passwd";

/// A user by name, or by number with or without a group's number: `nobody`, `65534`, `65534:65534`.
pub(crate) fn function_user(text: &str) -> Result<RunAs, String> {
    let passwd = fs::read_to_string(PASSWD).map_err(|error| format!("{PASSWD}: {error}"))?;
    let found = find(text, &passwd)?;
    if found.user == 0 {
        return Err("functions would run as root, and root's files are the server's".into());
    }
    Ok(found)
}

fn find(text: &str, passwd: &str) -> Result<RunAs, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let known = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, number, of, _, home, ..] = fields.as_slice() else { return None };
        (*name == user || *number == user).then_some((*name, *number, *of, *home))
    });
    let number = |text: &str, what: &str| {
        text.parse::<u32>().map_err(|_| format!("{what} {text:?} is not known on this machine"))
    };
    match (known, group) {
        (Some((name, user, of, home)), group) => Ok(RunAs {
            user: number(user, "user")?,
            group: number(group.unwrap_or(of), "group")?,
            name: Some(name.to_owned()),
            home: Some(home.to_owned()),
        }),
        (None, group) => {
            let user = number(user, "user")?;
            let group = group.map_or(Ok(user), |group| number(group, "group"))?;
            Ok(RunAs { user, group, name: None, home: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_or_numbered() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/sh\nbroken\n";
        let ann = |group| RunAs {
            user: 1000,
            group,
            name: Some("ann".into()),
            home: Some("/home/ann".into()),
        };
        let unnamed = |user, group| RunAs { user, group, name: None, home: None };
        for (text, found) in [
            ("ann", ann(100)),
            ("1000", ann(100)),
            ("ann:7", ann(7)),
            ("4711", unnamed(4711, 4711)),
            ("4711:12", unnamed(4711, 12)),
        ] {
            assert_eq!(find(text, passwd), Ok(found), "{text}");
        }
        for text in ["", "bob", "bob:1", "ann:wheel", "-1", "1.5", "4294967296"] {
            assert!(find(text, passwd).is_err(), "{text}");
        }
        assert!(function_user("0").unwrap_err().contains("root"));
    }
}
