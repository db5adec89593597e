//! What a worker is told, and the files that go with it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;
use windlass_core::assignment::{InputDigest, Instruction, Order};
use windlass_worker::private_files;

use super::record::AttemptRecord;

/// Gives an order to a worker, with its input. The inner error is that the worker has gone.
pub(super) fn give(
    socket: impl Write,
    home: &Path,
    job_uid: Uuid,
    mut order: Order,
    input: &[u8],
) -> io::Result<io::Result<()>> {
    // Before the order: a worker that runs something always has a record.
    AttemptRecord { job_uid, attempt: order.assignment.attempt }.write(home)?;
    let path = input_path(home);
    private_files::write(&path, input)?;
    order.assignment.input = text(&path);
    order.assignment.input_digest = Some(InputDigest::of_bytes(input));
    order.assignment.work = text(&work_path(home));
    order.program.directory.get_or_insert_with(|| order.assignment.work.clone());
    Ok(say(socket, &Instruction::Run(order)))
}

/// Says a line to a worker.
pub(super) fn say(mut socket: impl Write, instruction: &Instruction) -> io::Result<()> {
    let mut line = serde_json::to_vec(instruction)?;
    line.push(b'\n');
    socket.write_all(&line)
}

pub(super) fn input_path(home: &Path) -> PathBuf {
    home.join("input")
}

pub(super) fn work_path(home: &Path) -> PathBuf {
    home.join("work")
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
