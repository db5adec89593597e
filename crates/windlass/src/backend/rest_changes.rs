//! What happens to all jobs of a namespace, from a server's events.

use async_trait::async_trait;
use futures::stream;
use hyper::Method;
use serde::Deserialize;
use windlass_core::changes::{Change, ChangeStream, Changes};
use windlass_core::live::Shown;
use windlass_core::{Error, Job};

use super::events::{ServerSentEvent, ServerSentEvents};
use super::http_client::RequestParts;
use super::rest_jobs::{BRIEF_FIELDS, RestJobs};

#[async_trait]
impl Changes for RestJobs {
    async fn changes(&self, namespace: &str) -> Result<ChangeStream, Error> {
        let path = format!("/v1/namespaces/{namespace}/events?fields={BRIEF_FIELDS}");
        let answer = self.client().open(Method::GET, &path, RequestParts::default()).await?;
        let mut events = ServerSentEvents::new(answer.into_body());
        // What happens from then on is told.
        while next_event(&mut events).await?.kind != "begun" {}
        Ok(Box::pin(stream::unfold(Some(events), async |events| {
            let mut events = events?;
            match next_change(&mut events).await {
                Ok(change) => Some((Ok(change), Some(events))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

async fn next_change(events: &mut ServerSentEvents) -> Result<Change, Error> {
    loop {
        if let Some(change) = change_in(&next_event(events).await?)? {
            return Ok(change);
        }
    }
}

async fn next_event(events: &mut ServerSentEvents) -> Result<ServerSentEvent, Error> {
    match events.next_event().await {
        Ok(Some(event)) => Ok(event),
        Ok(None) => Err(Error::unavailable("the connection to the server has ended")),
        Err(error) => Err(Error::unavailable(format!("the connection broke off: {error}"))),
    }
}

/// What an event tells, if it tells anything of a job.
fn change_in(event: &ServerSentEvent) -> Result<Option<Change>, Error> {
    let unread = |error: serde_json::Error| {
        Error::unavailable(format!("the server tells something else: {error}"))
    };
    Ok(match event.kind.as_str() {
        "job" => {
            let job: Job = serde_json::from_slice(&event.data).map_err(unread)?;
            Some(Change::Stored(Shown::new(job.into(), None)))
        }
        "deleted" => {
            let Gone { name, uid } = serde_json::from_slice(&event.data).map_err(unread)?;
            Some(Change::Deleted { name, uid })
        }
        "problem" => {
            let Problem { detail } = serde_json::from_slice(&event.data).map_err(unread)?;
            return Err(Error::unavailable(detail));
        }
        // What a later server tells beside.
        _ => None,
    })
}

#[derive(Deserialize)]
struct Gone {
    name: String,
    uid: String,
}

/// The last event of a stream that cannot go on.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: &str, data: &str) -> Result<Option<Change>, Error> {
        change_in(&ServerSentEvent { kind: kind.into(), data: data.as_bytes().to_vec() })
    }

    #[test]
    fn an_event_is_a_change_the_end_or_nothing_that_is_known() {
        let job = r#"{"apiVersion":"a","kind":"ComputeJob","metadata":{"name":"j"},"spec":{"function":"f"}}"#;
        let Ok(Some(Change::Stored(shown))) = change("job", job) else { panic!() };
        assert_eq!(shown.job.metadata.name, "j");
        let gone = Change::Deleted { name: "j".into(), uid: "u".into() };
        assert_eq!(change("deleted", r#"{"name":"j","uid":"u"}"#).unwrap(), Some(gone));
        assert_eq!(change("later", "{}").unwrap(), None);
        let problem = change("problem", r#"{"detail":"too slow"}"#).unwrap_err();
        assert_eq!(problem.to_string(), "too slow");
        assert!(change("job", "{").is_err());
    }

    #[test]
    fn the_fields_of_a_list_are_fields_of_a_job() {
        windlass_core::fields::Fields::parse(BRIEF_FIELDS).unwrap();
    }
}
