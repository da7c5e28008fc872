//! The write-ahead log: frames on disk before an append is acknowledged.
//!
//! A frame is a header of `magic, payload length, CRC-32C, kind, first position, time of arrival` and a payload: an Arrow
//! IPC stream with one batch. The checksum covers all that follows it. A frame that was cut off at the end of the last
//! file was never acknowledged and is dropped; a broken frame anywhere else is damage and is refused.

use crate::Kind;
use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use steersman_domain::{ErrorKind, Problem};

const MAGIC: [u8; 4] = *b"SMf2";
const HEADER: usize = 32;
/// Where in the header the checksum's range begins.
const COVERED: usize = 12;

/// Rows on their way into a log.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// Position of the first row; they follow each other without gaps.
    pub(crate) first: u64,
    /// When they were taken in, in microseconds.
    pub(crate) received_at: i64,
    payload: Vec<u8>,
}

/// Rows that were read from a log.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) kind: Kind,
    pub(crate) first: u64,
    pub(crate) received_at: i64,
    /// In their own columns, without those that held nothing.
    pub(crate) batch: RecordBatch,
}

impl Frame {
    /// A frame of these rows, which has no place yet. Columns that hold nothing are left out.
    pub(crate) fn new(kind: Kind, batch: &RecordBatch) -> Result<Self, Problem> {
        let full = (0..batch.num_columns())
            .filter(|&index| batch.column(index).null_count() < batch.num_rows())
            .collect::<Vec<_>>();
        let encode = || -> Result<Vec<u8>, arrow::error::ArrowError> {
            let batch = batch.project(&full)?;
            let bytes =
                |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_default() + 256;
            let room = batch.columns().iter().map(bytes).sum::<usize>();
            let mut writer = StreamWriter::try_new(Vec::with_capacity(room + 1_024), &batch.schema())?;
            writer.write(&batch)?;
            writer.finish()?;
            writer.into_inner()
        };
        let payload =
            encode().map_err(|error| Problem::internal(format!("a batch cannot be written: {error}")))?;
        if u32::try_from(payload.len()).is_err() {
            let problem = Problem::new(ErrorKind::TooLarge, "a batch of 4 GiB or more");
            return Err(problem.hint("send smaller batches"));
        }
        Ok(Self { kind, first: 0, received_at: 0, payload })
    }

    /// Bytes on disk.
    pub(crate) fn len(&self) -> usize {
        HEADER + self.payload.len()
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[12] = u8::from(self.kind == Kind::Labels);
        header[16..24].copy_from_slice(&self.first.to_le_bytes());
        header[24..].copy_from_slice(&self.received_at.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[COVERED..]), &self.payload);
        header[8..12].copy_from_slice(&checksum.to_le_bytes());
        header
    }
}

/// An open write-ahead log.
#[derive(Debug)]
pub(crate) struct Wal {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Wal {
    /// Makes an empty log.
    pub(crate) fn create(path: &Path) -> Result<Self, Problem> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path);
        let file = file.map_err(|error| Problem::io("make", path, &error))?;
        Ok(Self { path: path.to_owned(), file, length: 0 })
    }

    /// Opens the last log of a model, whose frames were read before; what follows them was cut off and is dropped.
    pub(crate) fn resume(path: &Path, length: u64) -> Result<Self, Problem> {
        let mut file =
            OpenOptions::new().write(true).open(path).map_err(|error| Problem::io("open", path, &error))?;
        file.set_len(length)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|error| Problem::io("cut", path, &error))?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Writes frames; they may be acknowledged after [`Wal::sync`]. After an error the file is as before, unless that
    /// is what the error says.
    pub(crate) fn append<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) -> Result<(), WriteFailure> {
        let before = self.length;
        for frame in frames {
            let written =
                self.file.write_all(&frame.header()).and_then(|()| self.file.write_all(&frame.payload));
            if let Err(error) = written {
                let problem = Problem::io("write to", &self.path, &error);
                self.length = before;
                let cut = self.file.set_len(before).and_then(|()| self.file.seek(SeekFrom::Start(before)));
                return Err(WriteFailure { problem, whole: cut.is_ok() });
            }
            self.length += frame.len() as u64;
        }
        Ok(())
    }

    /// Brings what was written to the disk. After an error nobody knows what is there: only a restart, which reads it,
    /// can tell.
    pub(crate) fn sync(&self) -> Result<(), WriteFailure> {
        self.file
            .sync_data()
            .map_err(|error| WriteFailure { problem: Problem::io("sync", &self.path, &error), whole: false })
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A write that did not happen.
#[derive(Debug)]
pub(crate) struct WriteFailure {
    pub(crate) problem: Problem,
    /// The file is as it was before.
    pub(crate) whole: bool,
}

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) frames: Vec<Replayed>,
    /// Bytes of whole frames.
    pub(crate) length: u64,
    /// Bytes after them that are no frame.
    pub(crate) torn_bytes: u64,
}

/// Reads a log. Only the `last` one of a model may end in a frame that was cut off.
pub(crate) fn read(path: &Path, last: bool) -> Result<Contents, Problem> {
    let bytes = std::fs::read(path).map_err(|error| Problem::io("read", path, &error))?;
    let mut frames = Vec::new();
    let mut position = 0;
    while let Some(found) = frame(&bytes[position..]) {
        let length = found.payload.len();
        frames.push(found.decode().map_err(|error| corrupt(path, position, &error))?);
        position += HEADER + length;
    }
    let rest = &bytes[position..];
    if !rest.is_empty() {
        if rest.starts_with(b"SMf1") {
            let what = "written by an earlier version of Steersman, which must close it first";
            return Err(corrupt(path, position, what));
        }
        if !last {
            return Err(corrupt(path, position, "a frame does not match its checksum"));
        }
        if (1..rest.len()).any(|skip| frame(&rest[skip..]).is_some()) {
            let what = "a frame does not match its checksum, and whole ones follow";
            return Err(corrupt(path, position, what));
        }
    }
    Ok(Contents { frames, length: position as u64, torn_bytes: rest.len() as u64 })
}

/// A whole frame in a file.
struct Found<'a> {
    header: &'a [u8],
    payload: &'a [u8],
}

/// The frame that `bytes` begin with, if it is whole.
fn frame(bytes: &[u8]) -> Option<Found<'_>> {
    let header = bytes.get(..HEADER)?;
    if header[..4] != MAGIC {
        return None;
    }
    let length = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
    let payload = bytes.get(HEADER..HEADER.checked_add(length)?)?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[COVERED..]), payload);
    (header[8..12] == checksum.to_le_bytes()).then_some(Found { header, payload })
}

impl Found<'_> {
    fn decode(&self) -> Result<Replayed, String> {
        let mut number = [0; 8];
        number.copy_from_slice(&self.header[16..24]);
        let first = u64::from_le_bytes(number);
        number.copy_from_slice(&self.header[24..]);
        let received_at = i64::from_le_bytes(number);
        let kind = if self.header[12] == 0 { Kind::Records } else { Kind::Labels };
        let mut reader = StreamReader::try_new(self.payload, None).map_err(|error| error.to_string())?;
        let batch = reader.next().ok_or("a frame without rows")?.map_err(|error| error.to_string())?;
        Ok(Replayed { kind, first, received_at, batch })
    }
}

fn corrupt(path: &Path, position: usize, what: &str) -> Problem {
    Problem::new(ErrorKind::Corrupt, format!("`{}` at byte {position}: {what}", path.display()))
        .hint("restore the file from a backup, or move it away and lose what it holds")
}
