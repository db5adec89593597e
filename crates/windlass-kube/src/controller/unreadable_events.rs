//! Tells by an Event of each object that cannot be read.
//!
//! Every controller reads these objects; only the one that leads publishes Events.

use kube::runtime::events::Recorder;
use tokio::sync::{mpsc, watch};

use super::events;
use crate::cache::unreadable::{Unreadable, UnreportedObjects};

/// Publishes an Event for each object that `found` brings, while this process leads.
pub(crate) async fn run(
    mut found: mpsc::UnboundedReceiver<Unreadable>,
    mut leads: watch::Receiver<bool>,
    recorder: &Recorder,
) {
    let mut unreported = UnreportedObjects::default();
    loop {
        tokio::select! {
            next = found.recv() => match next {
                Some(object) => unreported.add(object),
                None => return,
            },
            changed = leads.changed() => if changed.is_err() {
                return;
            },
        }
        while *leads.borrow_and_update()
            && let Some(object) = unreported.take_next()
        {
            events::publish(recorder, &object.about, &events::unreadable(&object.why)).await;
        }
    }
}
