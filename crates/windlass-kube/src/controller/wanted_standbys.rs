//! How many standbys a function needs, and which it has too many. Pure.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::attempt::standby::Standby;

/// How long one that has ended by itself is kept: until then no other takes its place, so that a function which cannot
/// start is not started all the time.
const ENDED: SignedDuration = SignedDuration::from_secs(30);

/// How long there may be too many. A claim makes another before it is seen itself.
pub(super) const SURPLUS: Duration = Duration::from_secs(10);

/// What a function wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    /// So many shall wait.
    pub(super) min: usize,
    /// Those that are made from this.
    pub(super) digest: &'a str,
    /// None that was created before.
    pub(super) not_before: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// So many are to be created.
    pub(super) create: usize,
    /// These are of no use.
    pub(super) remove: Vec<Standby>,
    /// These are as good as any, and too many.
    pub(super) surplus: Vec<Standby>,
}

/// What is to be done about the standbys of one function, in the order of their creation.
pub(super) fn changes(wanted: &Wanted<'_>, standbys: &[Standby], now: Timestamp) -> Changes {
    let unclaimed = || standbys.iter().filter(|standby| !standby.is_claimed);
    let is_current = |standby: &&Standby| {
        standby.digest == wanted.digest && standby.created >= wanted.not_before
    };
    let idle: Vec<_> = unclaimed().filter(|s| s.is_idle()).filter(is_current).collect();
    let ended = unclaimed().filter(|s| s.is_over).filter(is_current);
    let (ended, over): (Vec<_>, Vec<_>) =
        ended.partition(|standby| now.duration_since(standby.created) < ENDED);
    let outdated = unclaimed().filter(|standby| !is_current(standby));
    Changes {
        create: wanted.min.saturating_sub(idle.len() + ended.len()),
        remove: outdated.chain(over).cloned().collect(),
        surplus: idle.into_iter().skip(wanted.min).cloned().collect(),
    }
}

/// The first numbers whose names are free.
pub(super) fn free_numbers(
    count: usize,
    name: impl Fn(u32) -> String,
    standbys: &[Standby],
) -> Vec<String> {
    let taken: HashSet<&str> = standbys.iter().map(|standby| standby.name.as_str()).collect();
    (0..).map(name).filter(|name| !taken.contains(name.as_str())).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_times::at;

    fn standby(number: u32, created: i64) -> Standby {
        Standby {
            namespace: "n".into(),
            name: format!("s-{number}"),
            uid: number.to_string(),
            resource_version: "1".into(),
            function: "f".into(),
            digest: "d".into(),
            created: at(created),
            exchange: None,
            is_claimed: false,
            is_over: false,
        }
    }

    fn of(standbys: &[Standby]) -> (usize, Vec<String>, Vec<String>) {
        let wanted = Wanted { min: 2, digest: "d", not_before: at(0) };
        let Changes { create, remove, surplus } = changes(&wanted, standbys, at(100));
        let names = |all: Vec<Standby>| all.into_iter().map(|s| s.name).collect();
        (create, names(remove), names(surplus))
    }

    #[test]
    fn as_many_wait_as_the_function_says() {
        let (a, b, c) = (standby(0, 1), standby(1, 2), standby(2, 3));
        assert_eq!(of(&[]), (2, vec![], vec![]));
        assert_eq!(of(&[a.clone(), b.clone()]), (0, vec![], vec![]));
        assert_eq!(of(&[a.clone(), b.clone(), c]), (0, vec![], vec!["s-2".into()]));
        let claimed = Standby { is_claimed: true, ..b.clone() };
        assert_eq!(of(&[a.clone(), claimed]), (1, vec![], vec![]));
        let other = Standby { digest: "e".into(), ..b.clone() };
        assert_eq!(of(&[a.clone(), other]), (1, vec!["s-1".into()], vec![]));
        let old = Standby { created: at(-1), ..b };
        assert_eq!(of(&[old, a]), (1, vec!["s-1".into()], vec![]));
    }

    #[test]
    fn one_that_cannot_start_is_replaced_at_leisure() {
        let a = standby(0, 1);
        let failed = Standby { is_over: true, ..standby(1, 90) };
        assert_eq!(of(&[a.clone(), failed]), (0, vec![], vec![]));
        let failed = Standby { is_over: true, ..standby(1, 60) };
        assert_eq!(of(&[a, failed]), (1, vec!["s-1".into()], vec![]));
    }

    #[test]
    fn a_name_that_is_taken_is_passed_over() {
        let name = |number| format!("s-{number}");
        let standbys = [standby(0, 1), standby(2, 1)];
        assert_eq!(free_numbers(2, name, &standbys), ["s-1", "s-3"]);
    }
}
