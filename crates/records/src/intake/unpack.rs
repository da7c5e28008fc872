//! Undoes the packing of a body, under a limit that no bomb gets past.

use bytes::Bytes;
use std::io::Read;
use steersman_domain::{ErrorKind, Problem};

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Packing {
    /// The packing that `Content-Encoding` names.
    pub fn of(content_encoding: &str) -> Result<Self, Problem> {
        match content_encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => Err(Problem::invalid(format!("the encoding `{other}` is not read"))
                .field("Content-Encoding")
                .hint("send it plain, or with gzip or zstd")),
        }
    }
}

/// How much is unpacked before it is asked for room again.
const PIECE: u64 = 1 << 20;
/// 8 MiB: a frame that wants a larger window for itself is refused, as zstd's own tool does by default.
const LARGEST_WINDOW_LOG: u32 = 23;

/// The body as it was before it was packed, at most `limit` bytes. `room` is asked before each further piece is kept.
pub fn unpack(
    packing: Packing,
    body: Bytes,
    limit: u64,
    room: &mut dyn FnMut(u64) -> Result<(), Problem>,
) -> Result<Bytes, Problem> {
    match packing {
        Packing::Plain if body.len() as u64 > limit => Err(too_large(limit)),
        Packing::Plain => Ok(body),
        Packing::Gzip => read_all(flate2::read::MultiGzDecoder::new(&*body), "gzip", limit, room),
        Packing::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(&*body).map_err(|error| broken("zstd", &error))?;
            decoder.window_log_max(LARGEST_WINDOW_LOG).map_err(|error| broken("zstd", &error))?;
            read_all(decoder, "zstd", limit, room)
        }
    }
}

fn read_all(
    mut reader: impl Read,
    name: &str,
    limit: u64,
    room: &mut dyn FnMut(u64) -> Result<(), Problem>,
) -> Result<Bytes, Problem> {
    let mut unpacked = Vec::new();
    loop {
        let read =
            reader.by_ref().take(PIECE).read_to_end(&mut unpacked).map_err(|error| broken(name, &error))?;
        if unpacked.len() as u64 > limit {
            return Err(too_large(limit));
        }
        if read == 0 {
            return Ok(unpacked.into());
        }
        room(read as u64)?;
    }
}

fn broken(name: &str, error: &std::io::Error) -> Problem {
    Problem::invalid(format!("the body is not whole {name}: {error}"))
        .field("Content-Encoding")
        .hint("nothing of this batch was taken in")
}

/// A body over its limit.
fn too_large(limit: u64) -> Problem {
    let message = format!("the body is larger than {limit} bytes when unpacked");
    Problem::new(ErrorKind::TooLarge, message).hint("send smaller batches; nothing of this one was taken in")
}
