//! A sorted table of entries of one width, in pages of 4 KiB with a checksum each. An entry begins with its key.
//!
//! Keys are hashes, so they are spread evenly, and where one lies in the table can be guessed well: two or three pages are
//! read to find one, from the file or, where there is room, from memory.

use super::memory::{Grant, Memory};
use std::cmp::Ordering;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt as _;
use steersman_domain::{ErrorKind, Problem};

pub(super) const PAGE: usize = 4_096;
/// Bytes of a page's checksum, which covers the rest.
const SUM: usize = 4;
pub(super) const KEY: usize = 16;
/// After so many guesses halves are taken.
const GUESSES: usize = 6;

/// The key that an entry begins with.
pub(super) fn key(entry: &[u8]) -> u128 {
    let mut bytes = [0; KEY];
    if let Some(key) = entry.get(..KEY) {
        bytes.copy_from_slice(key);
    }
    u128::from_be_bytes(bytes)
}

fn most(width: usize) -> usize {
    (PAGE - SUM) / width
}

/// Bytes of a table of so many entries.
pub(super) fn size(entries: u64, width: usize) -> u64 {
    entries.div_ceil(most(width) as u64) * PAGE as u64
}

/// Writes a table; entries come in order.
pub(super) struct PageWriter<'a, W: Write> {
    to: &'a mut W,
    width: usize,
    page: Vec<u8>,
}

impl<'a, W: Write> PageWriter<'a, W> {
    pub(super) fn new(to: &'a mut W, width: usize) -> Self {
        let mut page = Vec::with_capacity(PAGE);
        page.resize(SUM, 0);
        Self { to, width, page }
    }

    pub(super) fn push(&mut self, entry: &[u8]) -> std::io::Result<()> {
        debug_assert_eq!(entry.len(), self.width);
        self.page.extend_from_slice(entry);
        if self.page.len() >= SUM + most(self.width) * self.width {
            self.end_page()?;
        }
        Ok(())
    }

    fn end_page(&mut self) -> std::io::Result<()> {
        self.page.resize(PAGE, 0);
        let sum = crc32c::crc32c(&self.page[SUM..]);
        self.page[..SUM].copy_from_slice(&sum.to_le_bytes());
        self.to.write_all(&self.page)?;
        self.page.clear();
        self.page.resize(SUM, 0);
        Ok(())
    }

    pub(super) fn finish(mut self) -> std::io::Result<()> {
        if self.page.len() > SUM { self.end_page() } else { Ok(()) }
    }
}

/// A page that was read last.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    number: Option<u64>,
    bytes: Vec<u8>,
}

/// A table in a file.
#[derive(Debug)]
pub(super) struct Table {
    width: usize,
    entries: u64,
    /// Where in the file it begins.
    offset: u64,
    /// All of it, where there is room.
    held: Option<(Vec<u8>, Grant)>,
}

impl Table {
    pub(super) fn new(width: usize, entries: u64, offset: u64) -> Self {
        Self { width, entries, offset, held: None }
    }

    /// Brings it into memory, if there is room.
    pub(super) fn hold(&mut self, file: &File, memory: &Memory) -> Result<(), Problem> {
        let bytes = size(self.entries, self.width);
        let Some(grant) = memory.for_keys(bytes) else { return Ok(()) };
        let mut pages = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut pages, self.offset).map_err(|error| unreadable(&error))?;
        pages.chunks(PAGE).try_for_each(whole)?;
        self.held = Some((pages, grant));
        Ok(())
    }

    /// Bytes of memory that it takes.
    pub(super) fn in_memory(&self) -> u64 {
        self.held.as_ref().map_or(0, |(_, grant)| grant.bytes)
    }

    fn pages(&self) -> u64 {
        self.entries.div_ceil(most(self.width) as u64)
    }

    /// The entries of a page.
    fn page<'a>(&'a self, file: &File, number: u64, buffer: &'a mut Buffer) -> Result<&'a [u8], Problem> {
        let before = number * most(self.width) as u64;
        let count = (self.entries - before.min(self.entries)).min(most(self.width) as u64) as usize;
        let page = match &self.held {
            Some((pages, _)) => {
                let from = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(PAGE);
                pages.get(from..).unwrap_or_default()
            }
            None => {
                if buffer.number != Some(number) {
                    buffer.number = None;
                    buffer.bytes.resize(PAGE, 0);
                    let offset = self.offset + number * PAGE as u64;
                    file.read_exact_at(&mut buffer.bytes, offset).map_err(|error| unreadable(&error))?;
                    whole(&buffer.bytes)?;
                    buffer.number = Some(number);
                }
                &buffer.bytes
            }
        };
        page.get(SUM..SUM + count * self.width).ok_or_else(|| damaged("a page is cut off"))
    }

    /// Shows all entries of a key.
    pub(super) fn find(
        &self,
        file: &File,
        wanted: u128,
        buffer: &mut Buffer,
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Problem> {
        let first = self.first_page(file, wanted, buffer)?;
        for number in first..self.pages() {
            let page = self.page(file, number, buffer)?;
            let entries = page.chunks_exact(self.width);
            let count = entries.len();
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = low.midpoint(high);
                match self.entry(page, middle) < wanted {
                    true => low = middle + 1,
                    false => high = middle,
                }
            }
            let mut same = 0;
            for entry in entries.skip(low).take_while(|entry| key(entry) == wanted) {
                found(entry);
                same += 1;
            }
            // Only one that reaches the end of its page may go on in the next.
            if low + same < count {
                break;
            }
        }
        Ok(())
    }

    fn entry(&self, page: &[u8], place: usize) -> u128 {
        page.get(place * self.width..).map_or(0, key)
    }

    /// The first page whose last key is not below this one.
    fn first_page(&self, file: &File, wanted: u128, buffer: &mut Buffer) -> Result<u64, Problem> {
        // It is one of `low..=high`, and keys there lie between these.
        let (mut low, mut high) = (0, self.pages());
        let (mut least, mut most) = (0, u128::MAX);
        let mut guesses = 0;
        while low < high {
            guesses += 1;
            let guess = match guesses <= GUESSES {
                true => low + share(wanted, least, most, high - low),
                false => low.midpoint(high),
            };
            let page = self.page(file, guess, buffer)?;
            let first = self.entry(page, 0);
            let last = self.entry(page, (page.len() / self.width).saturating_sub(1));
            match (wanted.cmp(&first), wanted.cmp(&last)) {
                (_, Ordering::Greater) => (low, least) = (guess + 1, last),
                // Keys that are alike may begin on the page before.
                (Ordering::Greater, _) => return Ok(guess),
                _ => (high, most) = (guess, first),
            }
        }
        Ok(low)
    }

    /// All entries, in order.
    pub(super) fn scan<'a>(&'a self, file: &'a File) -> Scan<'a> {
        Scan { table: self, file, number: 0, place: 0, buffer: Buffer::default() }
    }
}

/// Which of so many pages a key lies on, if keys are spread evenly between `least` and `most`.
fn share(wanted: u128, least: u128, most: u128, pages: u64) -> u64 {
    let span = (most.saturating_sub(least)) >> 64;
    let into = (wanted.saturating_sub(least)) >> 64;
    let page = into.saturating_mul(u128::from(pages)).checked_div(span).unwrap_or(0);
    u64::try_from(page).unwrap_or(u64::MAX).min(pages.saturating_sub(1))
}

/// The entries of a table one after the other.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    table: &'a Table,
    file: &'a File,
    number: u64,
    place: usize,
    buffer: Buffer,
}

impl Scan<'_> {
    /// The entry that it stands at; none at the end.
    pub(super) fn current(&mut self) -> Result<Option<&[u8]>, Problem> {
        let width = self.table.width;
        if self.place >= most(width) {
            (self.number, self.place) = (self.number + 1, 0);
        }
        if self.number >= self.table.pages() {
            return Ok(None);
        }
        let page = self.table.page(self.file, self.number, &mut self.buffer)?;
        Ok(page.get(self.place * width..(self.place + 1) * width))
    }

    pub(super) fn advance(&mut self) {
        self.place += 1;
    }
}

fn whole(page: &[u8]) -> Result<(), Problem> {
    let (sum, rest) = page.split_at_checked(SUM).ok_or_else(|| damaged("a page is cut off"))?;
    match crc32c::crc32c(rest).to_le_bytes() == sum {
        true => Ok(()),
        false => Err(damaged("a page does not match its checksum")),
    }
}

fn unreadable(error: &std::io::Error) -> Problem {
    damaged(&error.to_string())
}

pub(super) fn damaged(what: &str) -> Problem {
    Problem::new(ErrorKind::Corrupt, format!("a file of ids cannot be read: {what}"))
        .hint("restart Steersman: files of ids are made anew from the segments")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(number: u64) -> u128 {
        let mix = |number: u64| {
            let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
        };
        u128::from(mix(number + 1)) << 64 | u128::from(mix(number + 77))
    }

    #[test]
    fn every_key_is_found_in_the_file_and_in_memory_and_no_other() {
        // Some keys come often, over several pages.
        let mut keys: Vec<u128> = (0..5_000).map(spread).collect();
        keys.extend(std::iter::repeat_n(spread(17), 700));
        keys.extend([0, u128::MAX]);
        keys.sort_unstable();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table");
        let mut bytes = vec![7; 100];
        let mut writer = PageWriter::new(&mut bytes, 20);
        for (number, key) in keys.iter().enumerate() {
            let mut entry = key.to_be_bytes().to_vec();
            entry.extend((number as u32).to_le_bytes());
            writer.push(&entry).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(bytes.len() as u64, 100 + size(keys.len() as u64, 20));
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let mut table = Table::new(20, keys.len() as u64, 100);
        for memory in [Memory::new(0), Memory::new(1 << 20)] {
            table.hold(&file, &memory).unwrap();
            let mut buffer = Buffer::default();
            let mut count = |wanted: u128| {
                let mut count = 0;
                table
                    .find(&file, wanted, &mut buffer, &mut |entry| {
                        assert_eq!(key(entry), wanted);
                        count += 1;
                    })
                    .unwrap();
                count
            };
            for number in 0..5_000 {
                assert_eq!(count(spread(number)), if number == 17 { 701 } else { 1 });
            }
            assert_eq!((count(0), count(u128::MAX), count(1), count(u128::MAX - 1)), (1, 1, 0, 0));
            assert!((5_000..10_000).all(|number| count(spread(number)) == 0));
            let (mut scan, mut seen) = (table.scan(&file), Vec::new());
            while let Some(entry) = scan.current().unwrap() {
                seen.push(key(entry));
                scan.advance();
            }
            assert_eq!(seen, keys);
        }
        bytes[5_000] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (file, table) = (File::open(&path).unwrap(), Table::new(20, keys.len() as u64, 100));
        let mut buffer = Buffer::default();
        let broken =
            keys.iter().filter(|key| table.find(&file, **key, &mut buffer, &mut |_| {}).is_err()).count();
        assert!(broken > 0);
    }
}
