//! What the worker of an attempt fetches before it starts the function. Pure.

use windlass_core::assignment::{Assignment, InputDigest, Inputs, SourceFile};
use windlass_core::{BlobRef, Job, JobSpec, media_type};

/// The input of an attempt whose worker writes files, in its own volume: that of the input cannot be written.
const FETCHED_INPUT: &str = "/windlass/work/input/input";

/// The blobs that a worker fetches; none of a job that names none.
pub(super) fn fetched_inputs(spec: &JobSpec) -> Option<Inputs> {
    spec.blobs().next()?;
    let source = |blob: &BlobRef| SourceFile { path: None, blob: blob.clone() };
    let files = spec.files.iter().map(|(name, blob)| (name.clone(), source(blob))).collect();
    Some(Inputs { input: spec.input_blob.as_ref().map(source), files })
}

/// What the input must be. A worker that is older than blobs finds that it is not.
pub(super) fn input_digest(spec: &JobSpec) -> InputDigest {
    match &spec.input_blob {
        Some(blob) => InputDigest { bytes: blob.bytes, sha256: blob.sha256.clone() },
        None => InputDigest::of_bytes(&spec.input_bytes()),
    }
}

/// The same assignment with all inputs in the attempt's own volume, if some are fetched: an inline input is copied there.
pub(super) fn beside_files(job: &Job, mut assignment: Assignment) -> Assignment {
    let Some(inputs) = &mut assignment.inputs else { return assignment };
    if inputs.input.is_none() {
        let InputDigest { bytes, sha256 } = input_digest(&job.spec);
        let blob = BlobRef { sha256, bytes, media_type: media_type::JSON.into() };
        inputs.input = Some(SourceFile { path: Some(assignment.input.clone()), blob });
    }
    assignment.input = FETCHED_INPUT.into();
    assignment
}
