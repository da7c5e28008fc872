//! A file of ids: the keys of records, the labels, a filter for each, and which stretches of positions they belong to.
//!
//! ```text
//! record pages · label pages · record filter · label filter · about (JSON) · length of about, its CRC-32C, magic
//! ```

use super::filter::Filter;
use super::keys::Keys;
use super::memory::{Grant, Memory};
use super::pages::{Buffer, KEY, PageWriter, Scan, Table, damaged, key, size};
use super::recent::{Counts, Known, Recent};
use crate::archive::Segment;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steersman_domain::Problem;

const MAGIC: [u8; 8] = *b"SMids001";
const END: usize = 16;
/// In a folder with a file of this name one could not be read.
pub(super) const DAMAGED: &str = "damaged";
/// A key and its stretch.
const RECORD: usize = KEY + 4;
/// The same, and what the label says.
const LABEL: usize = RECORD + 4 * 8;
/// Larger descriptions are damage.
const LARGEST_ABOUT: u32 = 64 << 20;

/// Positions of one replica whose ids are in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::log) struct Stretch {
    pub(in crate::log) replica: String,
    /// First position.
    pub(in crate::log) from: u64,
    /// First position after.
    pub(in crate::log) to: u64,
    /// Records there.
    pub(in crate::log) records: u64,
    /// Labels there.
    pub(in crate::log) labels: u64,
    pub(in crate::log) counts: Counts,
}

impl Stretch {
    pub(in crate::log) fn of(segment: &Segment, counts: Counts) -> Self {
        let Segment { replica, from, to, records, labels, .. } = segment;
        let (replica, from, to) = (replica.clone(), *from, *to);
        Self { replica, from, to, records: *records, labels: *labels, counts }
    }

    pub(super) fn rows(&self) -> u64 {
        self.records + self.labels
    }
}

/// The short form of a replica's name.
pub(in crate::log) fn origin(replica: &str) -> u64 {
    let letters = replica.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, letter| {
        (hash ^ u64::from(letter)).wrapping_mul(0x0100_0000_01b3)
    });
    u64::from_str_radix(replica, 16).unwrap_or(letters)
}

#[derive(Debug, Serialize, Deserialize)]
struct About {
    /// Of which secret the keys are.
    mark: u64,
    records: u64,
    labels: u64,
    /// Bytes of each filter.
    filters: (u64, u64),
    /// CRC-32C of both.
    filters_sum: u32,
    stretches: Vec<Stretch>,
}

/// What becomes a file.
pub(in crate::log) struct Part<'a> {
    pub(in crate::log) stretch: Stretch,
    pub(in crate::log) recent: &'a Recent,
}

/// An open file of ids.
#[derive(Debug)]
pub(in crate::log) struct IdFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    pub(super) stretches: Vec<Stretch>,
    /// The short form of each stretch's replica.
    origins: Vec<u64>,
    entries: (u64, u64),
    records: Table,
    labels: Table,
    /// Where the filters are, how long each is, and the checksum of both.
    filters_at: (u64, (u64, u64), u32),
    filters: Option<(Filter, Filter, Grant)>,
}

/// Entries on their way into a file, in order: each is put into what is given, until there is none.
pub(super) type Entries<'a> = &'a mut dyn FnMut(&mut Vec<u8>) -> Result<bool, Problem>;

impl IdFile {
    /// Writes a file of what is in memory. It has its name once it is published.
    pub(in crate::log) fn write(
        path: PathBuf,
        keys: &Keys,
        parts: &[Part<'_>],
        memory: &Memory,
    ) -> Result<Arc<Self>, Problem> {
        let (mut records, mut labels) = (Vec::new(), Vec::new());
        let mut stretches = Vec::with_capacity(parts.len());
        for (place, Part { stretch, recent }) in (0u32..).zip(parts) {
            records.extend(recent.records.iter().map(|key| (*key, place)));
            let known =
                recent.labels.iter().flat_map(|(key, known)| known.iter().map(move |known| (*key, known)));
            labels.extend(known.map(|(key, known)| (key, place, *known)));
            stretches.push(stretch.clone());
        }
        records.sort_unstable();
        labels.sort_unstable_by_key(|(key, place, known)| (*key, *place, known.seq));
        let counts = (records.len() as u64, labels.len() as u64);
        let (mut records, mut labels) = (records.into_iter(), labels.into_iter());
        let mut next_record = |entry: &mut Vec<u8>| {
            let Some((key, place)) = records.next() else { return Ok(false) };
            begin(entry, key, place);
            Ok(true)
        };
        let mut next_label = |entry: &mut Vec<u8>| {
            let Some((key, place, known)) = labels.next() else { return Ok(false) };
            begin(entry, key, place);
            entry.extend(known.label.to_bits().to_le_bytes());
            entry.extend(known.time.to_le_bytes());
            entry.extend(known.received_at.to_le_bytes());
            entry.extend(known.seq.to_le_bytes());
            Ok(true)
        };
        let file = Self::write_sorted(path, keys, stretches, counts, &mut next_record, &mut next_label)?;
        file.hold(memory).map(Arc::new)
    }

    /// Writes a file of sorted entries, of which there are about so many.
    pub(super) fn write_sorted<'a>(
        path: PathBuf,
        keys: &Keys,
        stretches: Vec<Stretch>,
        (records, labels): (u64, u64),
        next_record: Entries<'a>,
        next_label: Entries<'a>,
    ) -> Result<Self, Problem> {
        let draft = draft(&path);
        let wrong = |error: std::io::Error| Problem::io("write", &draft, &error);
        let written = (|| {
            let mut out = BufWriter::with_capacity(1 << 16, File::create(&draft).map_err(wrong)?);
            let (mut bytes, mut sum) = (Vec::new(), 0);
            let mut counted = [0; 2];
            let tables = [(RECORD, records, next_record), (LABEL, labels, next_label)];
            for ((width, entries, next), count) in tables.into_iter().zip(&mut counted) {
                let mut filter = Filter::new(entries);
                let mut pages = PageWriter::new(&mut out, width);
                let mut entry = Vec::with_capacity(LABEL);
                while next(&mut entry)? {
                    filter.insert(key(&entry));
                    pages.push(&entry).map_err(wrong)?;
                    entry.clear();
                    *count += 1;
                }
                pages.finish().map_err(wrong)?;
                bytes.push(filter.to_bytes());
            }
            for filter in &bytes {
                sum = crc32c::crc32c_append(sum, filter);
                out.write_all(filter).map_err(wrong)?;
            }
            let filters = (Filter::size(records), Filter::size(labels));
            let [records, labels] = counted;
            let about = About { mark: keys.mark(), records, labels, filters, filters_sum: sum, stretches };
            let about = serde_json::to_vec(&about).map_err(|error| Problem::internal(error.to_string()))?;
            let length = u32::try_from(about.len()).ok().filter(|length| *length <= LARGEST_ABOUT);
            let length = length.ok_or_else(|| Problem::internal("a file of ids has too many stretches"))?;
            out.write_all(&about).map_err(wrong)?;
            out.write_all(&length.to_le_bytes()).map_err(wrong)?;
            out.write_all(&crc32c::crc32c(&about).to_le_bytes()).map_err(wrong)?;
            out.write_all(&MAGIC).map_err(wrong)?;
            let file = out.into_inner().map_err(|error| wrong(error.into_error()))?;
            file.sync_all().map_err(wrong)
        })();
        if let Err(problem) = written {
            // On a full disk half a file would keep the room that is needed.
            let _ = std::fs::remove_file(&draft);
            return Err(problem);
        }
        Self::open_at(&draft, path, keys)
    }

    /// Opens a file of keys of this secret.
    pub(super) fn open(path: PathBuf, keys: &Keys) -> Result<Self, Problem> {
        Self::open_at(&path.clone(), path, keys)
    }

    fn open_at(at: &Path, path: PathBuf, keys: &Keys) -> Result<Self, Problem> {
        let wrong = |error: std::io::Error| Problem::io("read", at, &error);
        let file = File::open(at).map_err(wrong)?;
        let bytes = file.metadata().map_err(wrong)?.len();
        let mut end = [0; END];
        let before = bytes.checked_sub(END as u64).ok_or_else(|| damaged("it is cut off"))?;
        file.read_exact_at(&mut end, before).map_err(wrong)?;
        let (numbers, magic) = end.split_at(8);
        let number = |place: usize| {
            numbers
                .get(place..place + 4)
                .map_or(0, |four| four.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        let (length, sum) = (number(0), number(4));
        if magic != MAGIC || length > LARGEST_ABOUT {
            return Err(damaged("it has no end"));
        }
        let about_at = before.checked_sub(u64::from(length)).ok_or_else(|| damaged("it is cut off"))?;
        let mut about = vec![0; length as usize];
        file.read_exact_at(&mut about, about_at).map_err(wrong)?;
        if crc32c::crc32c(&about) != sum {
            return Err(damaged("it does not match its checksum"));
        }
        let about: About = serde_json::from_slice(&about).map_err(|error| damaged(&error.to_string()))?;
        let tables = size(about.records, RECORD) + size(about.labels, LABEL);
        let (first, second) = about.filters;
        let filled = tables.checked_add(first).and_then(|sum| sum.checked_add(second));
        if about.mark != keys.mark() || filled != Some(about_at) {
            return Err(damaged("it is of another secret or length"));
        }
        Ok(Self {
            path,
            file,
            bytes,
            origins: about.stretches.iter().map(|stretch| origin(&stretch.replica)).collect(),
            stretches: about.stretches,
            entries: (about.records, about.labels),
            records: Table::new(RECORD, about.records, 0),
            labels: Table::new(LABEL, about.labels, size(about.records, RECORD)),
            filters_at: (tables, about.filters, about.filters_sum),
            filters: None,
        })
    }

    /// Brings its filters, and then its keys, into memory, as far as there is room.
    pub(super) fn hold(mut self, memory: &Memory) -> Result<Self, Problem> {
        self.hold_filters(memory)?;
        self.hold_keys(memory)?;
        Ok(self)
    }

    /// Brings its filters into memory, if there is room.
    pub(super) fn hold_filters(&mut self, memory: &Memory) -> Result<(), Problem> {
        let (at, (records, labels), sum) = self.filters_at;
        if let Some(grant) = memory.for_filter(records + labels) {
            let mut bytes = vec![0; usize::try_from(records + labels).unwrap_or(usize::MAX)];
            let wrong = |error: std::io::Error| Problem::io("read", &self.path, &error);
            self.file.read_exact_at(&mut bytes, at).map_err(wrong)?;
            if crc32c::crc32c(&bytes) != sum {
                return Err(damaged("its filters do not match their checksum"));
            }
            let (first, second) = bytes.split_at(usize::try_from(records).unwrap_or(0).min(bytes.len()));
            self.filters = Some((Filter::from_bytes(first), Filter::from_bytes(second), grant));
        }
        Ok(())
    }

    /// Brings its keys into memory, if there is room.
    pub(super) fn hold_keys(&mut self, memory: &Memory) -> Result<(), Problem> {
        self.records.hold(&self.file, memory)?;
        self.labels.hold(&self.file, memory)
    }

    /// Gives it its name.
    pub(in crate::log) fn publish(&self) -> Result<(), Problem> {
        let draft = draft(&self.path);
        std::fs::rename(&draft, &self.path).map_err(|error| Problem::io("rename", &draft, &error))
    }

    /// Removes one that never got its name.
    pub(in crate::log) fn discard(&self) {
        let _ = std::fs::remove_file(draft(&self.path));
    }

    /// Removes it, as it cannot be read. At the next start all are made anew.
    fn give_up(&self) {
        let _ = std::fs::write(self.path.with_file_name(DAMAGED), "");
        self.remove();
    }

    /// Removes it from the disk; those who read it go on.
    pub(in crate::log) fn remove(&self) {
        // One that stays is of stretches that are not there any more, or are in another file too.
        let _ = std::fs::remove_file(&self.path);
    }

    /// Records and labels.
    pub(super) fn entries(&self) -> (u64, u64) {
        self.entries
    }

    /// Bytes of memory, and bytes on disk.
    pub(super) fn size(&self) -> (u64, u64) {
        let filters = self.filters.as_ref().map_or(0, |(.., grant)| grant.bytes);
        (filters + self.records.in_memory() + self.labels.in_memory(), self.bytes)
    }

    /// Shows the stretch of each record with this key.
    pub(super) fn find_record(
        &self,
        wanted: u128,
        buffer: &mut Buffer,
        found: &mut dyn FnMut(u32),
    ) -> Result<(), Problem> {
        if self.entries.0 == 0 || self.filters.as_ref().is_some_and(|(filter, ..)| !filter.may_hold(wanted)) {
            return Ok(());
        }
        self.records
            .find(&self.file, wanted, buffer, &mut |entry| found(stretch(entry)))
            .inspect_err(|_| self.give_up())
    }

    /// Shows each label with this key, and its stretch.
    pub(super) fn find_label(
        &self,
        wanted: u128,
        buffer: &mut Buffer,
        found: &mut dyn FnMut(u32, Known),
    ) -> Result<(), Problem> {
        if self.entries.1 == 0 || self.filters.as_ref().is_some_and(|(_, filter, _)| !filter.may_hold(wanted))
        {
            return Ok(());
        }
        let found = &mut |entry: &[u8]| {
            let place = stretch(entry);
            let number = |place: usize| {
                let from = RECORD + place * 8;
                entry
                    .get(from..from + 8)
                    .map_or(0, |eight| eight.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
            };
            let known = Known {
                label: f64::from_bits(number(0)),
                time: number(1).cast_signed(),
                received_at: number(2).cast_signed(),
                seq: number(3),
                origin: self.origins.get(place as usize).copied().unwrap_or(0),
            };
            found(place, known);
        };
        self.labels.find(&self.file, wanted, buffer, found).inspect_err(|_| self.give_up())
    }

    /// All entries of records and of labels, in order.
    pub(super) fn scans(&self) -> (Scan<'_>, Scan<'_>) {
        (self.records.scan(&self.file), self.labels.scan(&self.file))
    }
}

/// What a file is called before it counts.
fn draft(path: &Path) -> PathBuf {
    path.with_added_extension("partial")
}

fn begin(entry: &mut Vec<u8>, key: u128, stretch: u32) {
    entry.extend(key.to_be_bytes());
    entry.extend(stretch.to_le_bytes());
}

/// The stretch of an entry.
pub(super) fn stretch(entry: &[u8]) -> u32 {
    entry
        .get(KEY..RECORD)
        .map_or(u32::MAX, |four| four.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// Puts an entry into another stretch.
pub(super) fn renumber(entry: &mut [u8], stretch: u32) {
    if let Some(place) = entry.get_mut(KEY..RECORD) {
        place.copy_from_slice(&stretch.to_le_bytes());
    }
}
