//! The write-ahead log: frames of `magic, length, CRC-32C, payload`, on disk before an append is acknowledged.
//!
//! A payload is an Arrow IPC stream with one batch. A frame that was cut off at the end of the file was never
//! acknowledged and is dropped; a broken frame before a whole one is damage and is refused.

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use steersman_domain::{ErrorKind, Problem};

const MAGIC: [u8; 4] = *b"SMf1";
const HEADER: usize = 12;

/// An open write-ahead log.
#[derive(Debug)]
pub(crate) struct Wal {
    path: PathBuf,
    file: File,
    length: u64,
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) torn_bytes: u64,
}

impl Wal {
    /// Makes an empty log.
    pub(crate) fn create(path: &Path) -> Result<Self, Problem> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path);
        let file = file.map_err(|error| Problem::io("make", path, &error))?;
        Ok(Self { path: path.to_owned(), file, length: 0 })
    }

    /// Opens a log, drops a frame that was cut off, and reads the others.
    pub(crate) fn recover(path: &Path) -> Result<(Self, Replay), Problem> {
        let bytes = std::fs::read(path).map_err(|error| Problem::io("read", path, &error))?;
        let mut replay = Replay::default();
        let mut position = 0;
        while let Some(payload) = frame(&bytes, position) {
            replay.batches.push(decode(payload).map_err(|error| corrupt(path, position, &error))?);
            position += HEADER + payload.len();
        }
        let rest = &bytes[position..];
        let whole_frame_follows = (1..rest.len()).any(|skip| frame(rest, skip).is_some());
        if whole_frame_follows {
            return Err(corrupt(
                path,
                position,
                "a frame does not match its checksum, and whole ones follow",
            ));
        }
        replay.torn_bytes = rest.len() as u64;
        let length = position as u64;
        let mut file =
            OpenOptions::new().write(true).open(path).map_err(|error| Problem::io("open", path, &error))?;
        file.set_len(length)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|error| Problem::io("cut", path, &error))?;
        Ok((Self { path: path.to_owned(), file, length }, replay))
    }

    /// Writes a batch; [`Wal::handle`] must be synced before it may be acknowledged. On an error the file is as before.
    pub(crate) fn append(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        let payload = encode(batch)?;
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        bytes.extend(MAGIC);
        let length = u32::try_from(payload.len()).map_err(|_| {
            Problem::new(ErrorKind::TooLarge, "a batch of 4 GiB or more").hint("send smaller batches")
        })?;
        bytes.extend(length.to_le_bytes());
        bytes.extend(crc32c::crc32c(&payload).to_le_bytes());
        bytes.extend(payload);
        if let Err(error) = self.file.write_all(&bytes) {
            let problem = Problem::io("write to", &self.path, &error);
            self.file
                .set_len(self.length)
                .and_then(|()| self.file.seek(SeekFrom::Start(self.length)))
                .map_err(|error| Problem::io("take back a write to", &self.path, &error))?;
            return Err(problem);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// A handle that can be synced while others write.
    pub(crate) fn handle(&self) -> Result<File, Problem> {
        self.file.try_clone().map_err(|error| Problem::io("share", &self.path, &error))
    }

    /// Bytes written.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The payload of a whole frame at `position`.
fn frame(bytes: &[u8], position: usize) -> Option<&[u8]> {
    let header = bytes.get(position..position + HEADER)?;
    if header[..4] != MAGIC {
        return None;
    }
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let start = position + HEADER;
    let payload = bytes.get(start..start.checked_add(number(4) as usize)?)?;
    (crc32c::crc32c(payload) == number(8)).then_some(payload)
}

fn corrupt(path: &Path, position: usize, what: &str) -> Problem {
    Problem::new(ErrorKind::Corrupt, format!("`{}` at byte {position}: {what}", path.display()))
        .hint("restore the file from a backup, or move it away and lose what it holds")
}

fn encode(batch: &RecordBatch) -> Result<Vec<u8>, Problem> {
    let write = || -> Result<Vec<u8>, arrow::error::ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(batch)?;
        writer.finish()?;
        writer.into_inner()
    };
    write().map_err(|error| Problem::internal(format!("a batch cannot be written: {error}")))
}

fn decode(payload: &[u8]) -> Result<RecordBatch, String> {
    let mut reader = StreamReader::try_new(payload, None).map_err(|error| error.to_string())?;
    reader.next().ok_or("a frame without rows")?.map_err(|error| error.to_string())
}
