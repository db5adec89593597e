//! The watches of several namespaces as one: it has listed once each of them has, and never lists again.
//!
//! Who follows one watch takes a new list for all there is. So when one of several begins again, what its list has is
//! told as changes, and what it lacks as deletions.

use std::collections::{HashMap, HashSet};

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use kube::runtime::watcher::{Error, Event, Result};
use kube::{Resource, ResourceExt as _};
use tracing::warn;

use crate::watch_backoff::code;

/// The rights of a release may come a moment after its pods: so often a first list may be refused.
const MAX_REFUSALS: u32 = 3;

/// Whether the API server answers, and refuses.
fn is_refused(error: &Error) -> bool {
    matches!(error, Error::InitialListFailed(_)) && matches!(code(error), 403 | 404)
}

/// The events of all these watches, of one namespace each.
pub(crate) fn merged<K>(
    mut watches: Vec<BoxStream<'static, Result<Event<K>>>>,
) -> BoxStream<'static, Result<Event<K>>>
where
    K: Resource<DynamicType = ()> + Clone + Send + 'static,
{
    if watches.len() == 1 {
        return watches.remove(0);
    }
    let mut merge = Merge::new(watches.len());
    let numbered = watches
        .into_iter()
        .enumerate()
        .map(|(number, watch)| watch.map(move |event| (number, event)));
    let events = stream::select_all(numbered).flat_map(move |(number, event)| {
        let (failed, events) = match event {
            Ok(event) => (None, merge.after(number, event)),
            Err(error) => {
                let events = merge.after_error(number, &error);
                (Some(Err(error)), events)
            }
        };
        stream::iter(failed.into_iter().chain(events.into_iter().map(Ok)).collect::<Vec<_>>())
    });
    stream::iter([Ok(Event::Init)]).chain(events).boxed()
}

/// What the watches have shown.
struct Merge<K> {
    watches: Vec<OneWatch<K>>,
    /// What has gone before all have listed: a list does not tell it.
    gone: Vec<K>,
    has_listed: bool,
}

struct OneWatch<K> {
    /// The objects of its namespace, by name.
    there: HashMap<String, K>,
    /// What a list that has begun has shown so far.
    listed: Option<HashSet<String>>,
    has_listed: bool,
    /// How often its first list was refused.
    refusals: u32,
}

impl<K: Resource<DynamicType = ()> + Clone> Merge<K> {
    fn new(watches: usize) -> Self {
        let new =
            || OneWatch { there: HashMap::new(), listed: None, has_listed: false, refusals: 0 };
        let watches = std::iter::repeat_with(new).take(watches).collect();
        Self { watches, gone: Vec::new(), has_listed: false }
    }

    /// The events after one of a watch.
    fn after(&mut self, number: usize, event: Event<K>) -> Vec<Event<K>> {
        let watch = &mut self.watches[number];
        match event {
            Event::Init => {
                watch.listed = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listed) = &mut watch.listed {
                    listed.insert(object.name_any());
                }
                self.applied(number, object)
            }
            Event::Apply(object) => self.applied(number, object),
            Event::Delete(object) => {
                watch.there.remove(&object.name_any());
                self.deleted(vec![object])
            }
            Event::InitDone => {
                let listed = watch.listed.take().unwrap_or_default();
                watch.has_listed = true;
                let missing = watch.there.extract_if(|name, _| !listed.contains(name));
                let missing = missing.map(|(_, object)| object).collect();
                let events = self.deleted(missing);
                events.into_iter().chain(self.all_listed()).collect()
            }
        }
    }

    /// The events after an error of a watch. A namespace that is gone, or whose Role is, must not hold up the others: when
    /// its first list was refused several times, it counts as empty. It joins as soon as a list of it works.
    fn after_error(&mut self, number: usize, error: &Error) -> Vec<Event<K>> {
        let watch = &mut self.watches[number];
        if !is_refused(error) || watch.has_listed {
            return Vec::new();
        }
        watch.refusals += 1;
        if watch.refusals < MAX_REFUSALS {
            return Vec::new();
        }
        warn!(kind = %K::kind(&()), %error, "a namespace that is refused counts as empty");
        watch.has_listed = true;
        self.all_listed()
    }

    fn applied(&mut self, number: usize, object: K) -> Vec<Event<K>> {
        self.watches[number].there.insert(object.name_any(), object.clone());
        if self.has_listed {
            return vec![Event::Apply(object)];
        }
        let key = |object: &K| (object.namespace(), object.name_any());
        self.gone.retain(|gone| key(gone) != key(&object));
        vec![Event::InitApply(object)]
    }

    fn deleted(&mut self, objects: Vec<K>) -> Vec<Event<K>> {
        if self.has_listed {
            return objects.into_iter().map(Event::Delete).collect();
        }
        self.gone.extend(objects);
        Vec::new()
    }

    /// The end of the list, when each watch has listed for the first time.
    fn all_listed(&mut self) -> Vec<Event<K>> {
        if self.has_listed || !self.watches.iter().all(|watch| watch.has_listed) {
            return Vec::new();
        }
        self.has_listed = true;
        let gone = self.gone.drain(..).map(Event::Delete);
        [Event::InitDone].into_iter().chain(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::Status;

    use super::*;

    fn pod(namespace: &str, name: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some(namespace.into());
        pod.metadata.name = Some(name.into());
        pod
    }

    /// What follows from these events of the watches of the namespaces `0` and `1`.
    fn told(events: &[(usize, &str)]) -> Vec<String> {
        let mut merge = Merge::new(2);
        let of = |number: usize, name: &str| pod(&number.to_string(), name);
        let events = events.iter().flat_map(|(number, event)| {
            let event = match event.split_at_checked(1) {
                Some(("+", name)) => Event::Apply(of(*number, name)),
                Some(("-", name)) => Event::Delete(of(*number, name)),
                Some(("*", name)) => Event::InitApply(of(*number, name)),
                Some(("[", _)) => Event::Init,
                _ => Event::InitDone,
            };
            merge.after(*number, event)
        });
        events
            .map(|event| match event {
                Event::Apply(pod) => format!("+{}{}", pod.namespace().unwrap(), pod.name_any()),
                Event::Delete(pod) => format!("-{}{}", pod.namespace().unwrap(), pod.name_any()),
                Event::InitApply(pod) => format!("*{}{}", pod.namespace().unwrap(), pod.name_any()),
                Event::Init => "[".into(),
                Event::InitDone => "]".into(),
            })
            .collect()
    }

    #[test]
    fn the_list_ends_when_each_has_listed_and_what_went_meanwhile_is_deleted_then() {
        let first = [(0, "["), (0, "*a"), (0, "*b"), (0, "]"), (1, "["), (0, "+c"), (0, "-a")];
        assert_eq!(told(&first), ["*0a", "*0b", "*0c"]);
        let then = [&first[..], &[(1, "*a"), (1, "]"), (1, "-a")]].concat();
        assert_eq!(told(&then)[3..], ["*1a", "]", "-0a", "-1a"]);
        let again = [&first[..], &[(0, "+a"), (1, "]")]].concat();
        assert_eq!(told(&again)[3..], ["*0a", "]"], "it is there again");
    }

    #[test]
    fn a_watch_that_begins_again_tells_what_changed_in_its_namespace_alone() {
        let listed = [(0, "["), (0, "*a"), (0, "*b"), (0, "]"), (1, "["), (1, "*a"), (1, "]")];
        let again = [&listed[..], &[(0, "["), (0, "*b"), (0, "*c"), (0, "]")]].concat();
        assert_eq!(told(&again)[4..], ["+0b", "+0c", "-0a"]);
    }

    #[test]
    fn a_namespace_that_is_refused_holds_up_no_other_and_joins_when_it_is_listed() {
        let refused = |code| {
            let status = Status { code, ..Status::default() };
            Error::InitialListFailed(kube::Error::Api(Box::new(status)))
        };
        let mut merge = Merge::new(2);
        for event in [Event::Init, Event::InitApply(pod("0", "a")), Event::InitDone] {
            merge.after(0, event);
        }
        // A server that is away says nothing of the namespace.
        let (away, forbidden) = (refused(503), refused(403));
        let errors = [&away, &away, &away, &forbidden, &forbidden];
        assert!(errors.iter().all(|error| merge.after_error(1, error).is_empty()));
        let events = merge.after_error(1, &forbidden);
        assert!(matches!(events[..], [Event::InitDone]), "the other has listed");
        assert!(merge.after_error(1, &forbidden).is_empty(), "once");

        assert!(merge.after(1, Event::Init).is_empty());
        let events = merge.after(1, Event::InitApply(pod("1", "b")));
        assert!(matches!(&events[..], [Event::Apply(pod)] if pod.name_any() == "b"));
        assert!(merge.after(1, Event::InitDone).is_empty());
    }

    #[test]
    fn a_first_list_that_breaks_off_is_forgotten() {
        let broken = [(0, "["), (0, "*a"), (0, "["), (0, "*b"), (0, "]"), (1, "["), (1, "]")];
        assert_eq!(told(&broken), ["*0a", "*0b", "]", "-0a"]);
    }
}
