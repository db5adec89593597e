//! `windlass delete`: ends and forgets jobs.

use std::process::ExitCode;

use windlass_core::{GROUP, Job};

use crate::cli::Delete;
use crate::place::Place;
use crate::show;

pub(crate) async fn delete(place: &Place, args: &Delete) -> anyhow::Result<ExitCode> {
    for name in &args.jobs {
        place.jobs.delete(&place.key(name)).await?;
        show::print(&format!("{}.{GROUP}/{name} deleted\n", Job::KIND.to_ascii_lowercase()))?;
    }
    Ok(ExitCode::SUCCESS)
}
