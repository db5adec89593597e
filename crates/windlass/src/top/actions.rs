//! Does to a job what was asked for.

use windlass_core::Error;

use super::screen::{Action, Asked};
use crate::backend::resolve::Backend;
use crate::output::terminal;

/// What came of it, in words. A job that was made again under the name of the one that was shown is left alone.
pub(super) async fn act(backend: &Backend, asked: Asked) -> Result<String, String> {
    let done = match is_same(backend, &asked).await {
        Ok(true) => act_on(backend, &asked).await,
        Ok(false) => {
            let name = &asked.name;
            Err(anyhow::anyhow!("job {name} was deleted and made again: nothing was done"))
        }
        Err(error) => Err(error.into()),
    };
    done.map(|text| terminal::line(&text)).map_err(|error| terminal::line(&format!("{error:#}")))
}

/// Whether the job of this name is the one that was shown, as far as one may know.
async fn is_same(backend: &Backend, asked: &Asked) -> Result<bool, Error> {
    match backend.jobs.get(&backend.key(&asked.name)).await {
        Ok(job) => Ok(job.metadata.uid == asked.uid),
        // Who may cancel may not always read.
        Err(Error::Denied(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

async fn act_on(backend: &Backend, asked: &Asked) -> anyhow::Result<String> {
    let key = backend.key(&asked.name);
    let name = &asked.name;
    match asked.action {
        Action::Cancel => {
            let job = backend.jobs.cancel(&key).await?;
            Ok(match job.status.summary() {
                Some(ended) => format!("job {name} had already ended: {}", ended.phase),
                None => format!("job {name} is asked to end"),
            })
        }
        Action::Retry => {
            let job = backend.retry(&key, None).await?;
            Ok(format!("job {name} was submitted again as {}", job.metadata.name))
        }
        Action::Delete => {
            backend.jobs.delete(&key).await?;
            Ok(format!("job {name} is deleted"))
        }
    }
}
