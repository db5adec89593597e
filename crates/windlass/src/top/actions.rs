//! Does to a job what was asked for.

use super::screen::{Action, Asked};
use crate::backend::resolve::Backend;
use crate::output::terminal;

/// What came of it, in words. A job that was made again under the name of the one that was shown is left alone.
pub(super) async fn act(backend: &Backend, asked: Asked) -> Result<String, String> {
    let done = act_on(backend, &asked).await;
    done.map(|text| terminal::line(&text)).map_err(|error| terminal::line(&format!("{error:#}")))
}

async fn act_on(backend: &Backend, asked: &Asked) -> anyhow::Result<String> {
    let key = backend.key(&asked.name);
    let (name, uid) = (&asked.name, Some(asked.uid.as_str()));
    match asked.action {
        Action::Cancel => {
            let job = backend.jobs.cancel(&key, uid).await?;
            Ok(match job.status.summary() {
                Some(ended) => format!("job {name} had already ended: {}", ended.phase),
                None => format!("job {name} is asked to end"),
            })
        }
        Action::Retry => {
            let job = backend.retry(&key, uid, None).await?;
            Ok(format!("job {name} was submitted again as {}", job.metadata.name))
        }
        Action::Delete => {
            backend.jobs.delete(&key, uid).await?;
            Ok(format!("job {name} is deleted"))
        }
    }
}
