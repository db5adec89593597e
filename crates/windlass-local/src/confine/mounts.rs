//! Where control groups are mounted, and which of them this process is in.

use std::path::{Component, Path, PathBuf};

use super::version::Version;

/// One hierarchy of control groups, where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CgroupMount {
    pub(super) version: Version,
    /// Of version 1; version 2 tells its own in each group.
    pub(super) controllers: Vec<String>,
    pub(super) mount: PathBuf,
    /// This process's group.
    pub(super) own: PathBuf,
}

impl CgroupMount {
    /// It has this controller of version 1.
    pub(super) fn has_controller(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// From the text of `/proc/self/cgroup` and `/proc/self/mountinfo`.
pub(super) fn cgroup_mounts(groups: &str, mounts: &str) -> Vec<CgroupMount> {
    let mut found: Vec<CgroupMount> = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if controllers.starts_with("name=") {
            // It limits nothing, and belongs to who mounted it, such as systemd.
            continue;
        }
        let controllers: Vec<&str> = controllers.split(',').filter(|c| !c.is_empty()).collect();
        let version = if controllers.is_empty() { Version::V2 } else { Version::V1 };
        let mount = mounts.lines().find_map(|mount| {
            let (mount, options) = mount.split_once(" - ")?;
            let mut options = options.split(' ');
            let (kind, options) = (options.next()?, options.nth(1)?);
            let fits = match version {
                Version::V2 => kind == "cgroup2",
                Version::V1 => {
                    let of = |name| options.split(',').any(|option| option == name);
                    kind == "cgroup" && controllers.iter().all(|name| of(*name))
                }
            };
            let mut fields = mount.split(' ').skip(3);
            let (root, mount) = (unescape(fields.next()?), unescape(fields.next()?));
            // A container may see only a part of the hierarchy.
            let below = Path::new(path).strip_prefix(&root).ok()?;
            let inside = below.components().all(|part| matches!(part, Component::Normal(_)));
            (fits && inside).then(|| CgroupMount {
                version,
                controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
                own: Path::new(&mount).join(below),
                mount: mount.into(),
            })
        });
        found.extend(mount);
    }
    found
}

/// The kernel writes blanks in paths as `\040`.
fn unescape(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_at_checked(3).map(|(code, rest)| (u8::from_str_radix(code, 8), rest)) {
            Some((Ok(code), rest)) => {
                whole.push(char::from(code));
                whole.push_str(rest);
            }
            _ => {
                whole.push('\\');
                whole.push_str(part);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(groups: &str, mounts: &str) -> Vec<(Vec<String>, String)> {
        let all = cgroup_mounts(groups, mounts).into_iter();
        all.map(|mount| (mount.controllers, mount.own.to_string_lossy().into_owned())).collect()
    }

    #[test]
    fn version_two_of_a_service_is_found() {
        let mounts = "26 24 0:24 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = own("0::/system.slice/windlass.service\n", mounts);
        assert_eq!(found, [(vec![], "/sys/fs/cgroup/system.slice/windlass.service".into())]);
    }

    #[test]
    fn version_one_is_found_by_controller() {
        let groups = "9:name=systemd:/\n5:cpuset:/\n4:cpu,cpuacct:/a\n3:memory:/x/y\n0::/\n";
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu\\040s rw - cgroup cgroup rw,cpu,cpuacct\n\
            34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let found = own(groups, mounts);
        let expected = [
            (vec!["cpuset"], "/sys/fs/cgroup/cpuset/"),
            (vec!["cpu", "cpuacct"], "/sys/fs/cgroup/cpu s/a"),
            (vec!["memory"], "/sys/fs/cgroup/memory/x/y"),
        ];
        let expected = expected
            .map(|(names, path)| (names.into_iter().map(String::from).collect(), path.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_container_sees_its_part() {
        let mounts = "9 8 0:3 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(own("3:memory:/docker/abc/w\n", mounts)[0].1, "/sys/fs/cgroup/memory/w");
        assert_eq!(own("3:memory:/docker/other\n", mounts), []);
        // Outside of its namespace.
        let mounts = "9 8 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(own("0::/../other\n", mounts), []);
    }
}
