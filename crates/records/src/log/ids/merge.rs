//! Small files become larger ones, so that a key is looked for in few: at most three of each size, each size four times the
//! one before, up to one that is still written in a few seconds. What does not count any more is left out on the way.

use super::file::{IdFile, Stretch, renumber, stretch};
use super::files::{IdFiles, Kept};
use super::keys::Keys;
use super::memory::Memory;
use super::pages::{Scan, key};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use steersman_domain::{ErrorKind, Problem};

/// So many of one size become one.
const TOGETHER: usize = 4;
/// Files of fewer rows are of one size.
const SMALL: u64 = 1 << 14;
/// A file has about so many rows at most.
const LARGEST: u64 = 1 << 24;

/// Files that are to become one.
#[derive(Debug)]
pub(in crate::log) struct Plan {
    files: Vec<Kept>,
}

impl IdFiles {
    /// What is to be done next, if anything.
    pub(in crate::log) fn plan(&self) -> Option<Plan> {
        let rows = |kept: &Kept| kept.file.entries().0 + kept.file.entries().1;
        let living = |kept: &Kept| kept.living().map(Stretch::rows).sum::<u64>();
        let alone = self.files.iter().find(|kept| kept.stale || living(kept) * 2 < rows(kept));
        if let Some(kept) = alone {
            return Some(Plan { files: vec![kept.clone()] });
        }
        let class = |kept: &Kept| rows(kept).max(SMALL).ilog2() / 2;
        let mut sorted: Vec<&Kept> = self.files.iter().collect();
        sorted.sort_by_key(|kept| rows(kept));
        let together = sorted.windows(TOGETHER).find(|some| {
            let alike = some.iter().all(|kept| some.first().is_some_and(|first| class(first) == class(kept)));
            alike && some.iter().map(|kept| rows(kept)).sum::<u64>() <= LARGEST
        })?;
        Some(Plan { files: together.iter().map(|kept| (*kept).clone()).collect() })
    }

    /// These with the files of a plan replaced by what became of them; none if they are not all there any more. The second
    /// are those that are to be removed.
    pub(in crate::log) fn replaced(
        &self,
        plan: &Plan,
        by: Option<Arc<IdFile>>,
    ) -> Option<(Self, Vec<Arc<IdFile>>)> {
        let planned = |kept: &&Kept| plan.files.iter().any(|one| Arc::ptr_eq(&one.file, &kept.file));
        let old: Vec<&Kept> = self.files.iter().filter(planned).collect();
        if old.len() != plan.files.len() {
            return None;
        }
        let mut files: Vec<Kept> = self.files.iter().filter(|kept| !planned(kept)).cloned().collect();
        if let Some(file) = by {
            // Something may have gone meanwhile.
            let counts = |stretch: &Stretch| old.iter().any(|kept| kept.living().any(|one| one == stretch));
            let counts: Arc<[bool]> = file.stretches.iter().map(counts).collect();
            let gone = old.iter().any(|kept| {
                let before = plan.files.iter().find(|one| Arc::ptr_eq(&one.file, &kept.file));
                kept.stale && before.is_some_and(|before| before.counts != kept.counts)
            });
            files.push(Kept { file, counts, stale: gone });
        }
        Some((Self::new(files), old.into_iter().map(|kept| kept.file.clone()).collect()))
    }
}

/// A file that goes into another, and the number that each of its stretches has there.
struct Input<'a> {
    scan: Scan<'a>,
    numbers: &'a [Option<u32>],
}

impl Input<'_> {
    /// The key of the next entry that counts.
    fn key(&mut self) -> Result<Option<u128>, Problem> {
        while let Some(entry) = self.scan.current()? {
            if self.numbers.get(stretch(entry) as usize).is_some_and(Option::is_some) {
                return Ok(Some(key(entry)));
            }
            self.scan.advance();
        }
        Ok(None)
    }
}

/// Entries of several files, in order.
struct Merged<'a> {
    inputs: Vec<Input<'a>>,
    stop: &'a AtomicBool,
    count: u64,
}

impl Merged<'_> {
    fn next(&mut self, entry: &mut Vec<u8>) -> Result<bool, Problem> {
        self.count += 1;
        if self.count.is_multiple_of(4_096) && self.stop.load(Ordering::Relaxed) {
            return Err(Problem::new(ErrorKind::Unavailable, "the log is being closed"));
        }
        let mut least: Option<(u128, &mut Input<'_>)> = None;
        for input in &mut self.inputs {
            if let Some(key) = input.key()?
                && least.as_ref().is_none_or(|(least, _)| key < *least)
            {
                least = Some((key, input));
            }
        }
        let Some((_, input)) = least else { return Ok(false) };
        if let Some(found) = input.scan.current()? {
            let number = input.numbers.get(stretch(found) as usize).copied().flatten();
            entry.extend_from_slice(found);
            renumber(entry, number.unwrap_or(u32::MAX));
        }
        input.scan.advance();
        Ok(true)
    }
}

/// Makes one file of those of a plan; none if nothing of them counts. It has its name once it is published.
pub(in crate::log) fn merge(
    plan: &Plan,
    path: PathBuf,
    keys: &Keys,
    memory: &Memory,
    stop: &AtomicBool,
) -> Result<Option<Arc<IdFile>>, Problem> {
    let (mut stretches, mut numbers) = (Vec::new(), Vec::new());
    for kept in &plan.files {
        let first = stretches.len();
        stretches.extend(kept.living().cloned());
        let mut next = u32::try_from(first).unwrap_or(u32::MAX)..;
        numbers.push(
            kept.counts.iter().map(|counts| if *counts { next.next() } else { None }).collect::<Vec<_>>(),
        );
    }
    if stretches.is_empty() {
        return Ok(None);
    }
    let counts = (
        stretches.iter().map(|stretch: &Stretch| stretch.records).sum(),
        stretches.iter().map(|stretch: &Stretch| stretch.labels).sum(),
    );
    let (mut records, mut labels) = (Vec::new(), Vec::new());
    for (kept, numbers) in plan.files.iter().zip(&numbers) {
        let (of_records, of_labels) = kept.file.scans();
        records.push(Input { scan: of_records, numbers });
        labels.push(Input { scan: of_labels, numbers });
    }
    let mut records = Merged { inputs: records, stop, count: 0 };
    let mut labels = Merged { inputs: labels, stop, count: 0 };
    let file = IdFile::write_sorted(
        path,
        keys,
        stretches,
        counts,
        &mut |entry| records.next(entry),
        &mut |entry| labels.next(entry),
    )?;
    Ok(Some(Arc::new(file.hold(memory)?)))
}
