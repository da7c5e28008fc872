//! All files of ids of a model, and which of their stretches count.

use super::file::{DAMAGED, IdFile, Stretch};
use super::keys::Keys;
use super::memory::Memory;
use super::pages::Buffer;
use super::recent::{Asked, Counts, Known};
use crate::Kind;
use crate::archive::Segment;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use steersman_domain::Problem;

const ENDING: &str = "ids";

/// The files at one moment; a change makes another one of these.
#[derive(Debug, Clone, Default)]
pub(in crate::log) struct IdFiles {
    pub(super) files: Vec<Kept>,
    totals: (u64, u64, Counts),
}

/// A file, and which of its stretches count.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) file: Arc<IdFile>,
    pub(super) counts: Arc<[bool]>,
    /// Rows of a stretch that does not count any more are erased, or were there twice: the file is to be written anew.
    pub(super) stale: bool,
}

impl Kept {
    pub(super) fn counts(&self, stretch: u32) -> bool {
        self.counts.get(stretch as usize).copied().unwrap_or(false)
    }

    /// The stretches that count.
    pub(super) fn living(&self) -> impl Iterator<Item = &Stretch> {
        self.file
            .stretches
            .iter()
            .zip(self.counts.iter())
            .filter(|(_, counts)| **counts)
            .map(|(stretch, _)| stretch)
    }
}

/// A segment whose ids are in no file.
#[derive(Debug)]
pub(in crate::log) struct Missing<'a> {
    pub(in crate::log) segment: &'a Segment,
    /// What its labels found and what found labels, where that is known.
    pub(in crate::log) found: Option<Counts>,
}

/// Names for new files of a folder.
#[derive(Debug)]
pub(in crate::log) struct Names {
    dir: PathBuf,
    next: AtomicU64,
}

impl Names {
    /// Names in this folder.
    pub(in crate::log) fn new(dir: PathBuf) -> Self {
        Self { dir, next: AtomicU64::new(0) }
    }

    /// One that no file has.
    pub(in crate::log) fn next(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{number:08}.{ENDING}"))
    }

    /// The folder.
    pub(in crate::log) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl IdFiles {
    pub(super) fn new(files: Vec<Kept>) -> Self {
        let mut totals = (0, 0, Counts::default());
        for stretch in files.iter().flat_map(Kept::living) {
            totals.0 += stretch.records;
            totals.1 += stretch.labels;
            totals.2 += stretch.counts;
        }
        Self { files, totals }
    }

    /// Opens the files of a folder. Where one is damaged or of another secret all are removed, and the segments are looked
    /// through again.
    pub(in crate::log) fn open(names: &Names, keys: &Keys, memory: &Memory) -> Result<Self, Problem> {
        let dir = names.dir();
        let wrong = |error: std::io::Error| Problem::io("list", dir, &error);
        std::fs::create_dir_all(dir).map_err(|error| Problem::io("make the folder", dir, &error))?;
        let (mut files, mut paths): (Vec<IdFile>, Vec<PathBuf>) = (Vec::new(), Vec::new());
        let damaged = dir.join(DAMAGED);
        let mut whole = !damaged.exists();
        for entry in std::fs::read_dir(dir).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
            if extension.as_deref() == Some("partial") {
                std::fs::remove_file(&path).map_err(|error| Problem::io("remove", &path, &error))?;
            }
            if extension.as_deref() != Some(ENDING) {
                continue;
            }
            let number = path.file_stem().and_then(|stem| stem.to_string_lossy().parse().ok());
            names.next.fetch_max(number.map_or(0, |number: u64| number.saturating_add(1)), Ordering::Relaxed);
            paths.push(path.clone());
            match IdFile::open(path, keys) {
                Ok(file) => files.push(file),
                Err(_) => whole = false,
            }
        }
        // The largest first: of what a crash left beside the file that it became part of, that file counts.
        files.sort_by_key(|file| std::cmp::Reverse(file.stretches.len()));
        let mut seen: HashSet<(String, u64, u64, u64)> = HashSet::new();
        let mut kept = Vec::new();
        for file in files {
            let of = |stretch: &Stretch| (stretch.replica.clone(), stretch.from, stretch.to, stretch.rows());
            if file.stretches.iter().any(|stretch| seen.contains(&of(stretch))) {
                file.remove();
                continue;
            }
            seen.extend(file.stretches.iter().map(of));
            kept.push(file);
        }
        kept.sort_by_key(|file| file.entries());
        let mut all = Self::default();
        // The filters of all before the keys of any; small files, which are the recent ones, before others.
        whole &= kept.iter_mut().all(|file| file.hold_filters(memory).is_ok());
        whole &= kept.iter_mut().all(|file| file.hold_keys(memory).is_ok());
        for file in kept {
            all = all.with(Arc::new(file));
        }
        if whole {
            return Ok(all);
        }
        for path in paths.iter().chain([&damaged]).filter(|path| path.exists()) {
            std::fs::remove_file(path).map_err(|error| Problem::io("remove", path, &error))?;
        }
        Ok(Self::default())
    }

    /// These and one more, of which all stretches count.
    pub(in crate::log) fn with(&self, file: Arc<IdFile>) -> Self {
        let counts = vec![true; file.stretches.len()].into();
        let mut files = self.files.clone();
        files.push(Kept { file, counts, stale: false });
        Self::new(files)
    }

    /// Those of a damaged folder are given up.
    pub(in crate::log) fn give_up(self) -> Self {
        self.files.iter().for_each(|kept| kept.file.remove());
        Self::default()
    }

    /// What counts where these are the segments, and the segments that no file covers. A stretch counts if it is as large
    /// as the segment that it is of, or if all within a segment are so together: what is not there any more was written
    /// out of the segment, and which rows that were nobody knows.
    pub(in crate::log) fn reconciled<'a>(&self, segments: &'a [Segment]) -> (Self, Vec<Missing<'a>>) {
        let mut by_replica: BTreeMap<&str, Vec<(u64, u64, usize, usize)>> = BTreeMap::new();
        for (place, kept) in self.files.iter().enumerate() {
            for (number, stretch) in kept.file.stretches.iter().enumerate() {
                let known = by_replica.entry(stretch.replica.as_str()).or_default();
                known.push((stretch.from, stretch.to, place, number));
            }
        }
        by_replica.values_mut().for_each(|known| known.sort_unstable());
        let mut counts: Vec<Vec<bool>> =
            self.files.iter().map(|kept| vec![false; kept.file.stretches.len()]).collect();
        let mut stale = vec![false; self.files.len()];
        let mut missing = Vec::new();
        for segment in segments {
            let known = by_replica.get(segment.replica.as_str()).map(Vec::as_slice).unwrap_or_default();
            let first = known.partition_point(|(from, ..)| *from < segment.from);
            let within = known.get(first..).unwrap_or_default().iter();
            let within: Vec<_> = within
                .take_while(|(from, ..)| *from < segment.to)
                .filter(|(_, to, ..)| *to <= segment.to)
                .collect();
            let stretch = |place: &usize, number: &usize| self.files.get(*place)?.file.stretches.get(*number);
            let wanted = (segment.records, segment.labels);
            let whole = within.iter().rposition(|(from, to, place, number)| {
                let rows = stretch(place, number).map(|stretch| (stretch.records, stretch.labels));
                (*from, *to) == (segment.from, segment.to) && rows == Some(wanted)
            });
            let (mut sum, mut found) = ((0, 0), Counts::default());
            for stretch in within.iter().filter_map(|(.., place, number)| stretch(place, number)) {
                sum = (sum.0 + stretch.records, sum.1 + stretch.labels);
                found += stretch.counts;
            }
            let chosen: &[&(u64, u64, usize, usize)] = match whole {
                Some(whole) => within.get(whole..=whole).unwrap_or_default(),
                None if sum == wanted => &within,
                None => {
                    // What labels found there before they found; only a few rows are gone.
                    let all = sum.0 >= wanted.0 && sum.1 >= wanted.1;
                    let found = all.then(|| found.without_labels(sum.1 - wanted.1));
                    missing.push(Missing { segment, found });
                    &[]
                }
            };
            for (.., place, number) in chosen {
                if let Some(counts) = counts.get_mut(*place).and_then(|counts| counts.get_mut(*number)) {
                    *counts = true;
                }
            }
            if chosen.len() < within.len() {
                for (.., place, number) in &within {
                    let counts = counts.get(*place).and_then(|counts| counts.get(*number)).copied();
                    if let Some(stale) = stale.get_mut(*place)
                        && counts == Some(false)
                    {
                        *stale = true;
                    }
                }
            }
        }
        let files = self.files.iter().zip(counts).zip(stale);
        let files = files.map(|((kept, counts), stale)| Kept {
            file: kept.file.clone(),
            counts: counts.into(),
            stale,
        });
        (Self::new(files.collect()), missing)
    }

    /// These without the files of which nothing counts, and those files.
    pub(in crate::log) fn pruned(self) -> (Self, Vec<Arc<IdFile>>) {
        let (living, dead): (Vec<Kept>, Vec<Kept>) =
            self.files.into_iter().partition(|kept| kept.counts.iter().any(|counts| *counts));
        (Self::new(living), dead.into_iter().map(|kept| kept.file).collect())
    }

    /// What is known of these keys. Of records labels are looked for only where some `wait`.
    pub(in crate::log) fn ask(&self, kind: Kind, keys: &[u128], wait: bool) -> Result<Asked, Problem> {
        let mut there = vec![false; keys.len()];
        self.records(keys, &mut |place, _, _| {
            if let Some(there) = there.get_mut(place) {
                *there = true;
            }
        })?;
        let mut labels = vec![None; keys.len()];
        if kind == Kind::Labels || wait {
            let mut more: BTreeMap<usize, Vec<Known>> = BTreeMap::new();
            self.labels(keys, &mut |place, known| match labels.get_mut(place) {
                Some(first @ None) => *first = Some(known),
                Some(Some(first)) => more.entry(place).or_insert_with(|| vec![*first]).push(known),
                None => {}
            })?;
            for (place, known) in more {
                if let Some(label) = labels.get_mut(place) {
                    *label = Known::last(&known);
                }
            }
        }
        Ok(Asked { there, labels })
    }

    /// Shows which of these keys records have: the key's place, and the stretch.
    pub(in crate::log) fn records(
        &self,
        keys: &[u128],
        found: &mut dyn FnMut(usize, &IdFile, u32),
    ) -> Result<(), Problem> {
        for kept in &self.files {
            let mut buffer = Buffer::default();
            for (place, key) in keys.iter().enumerate() {
                kept.file.find_record(*key, &mut buffer, &mut |stretch| {
                    if kept.counts(stretch) {
                        found(place, &kept.file, stretch);
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Shows the labels that these keys have: the key's place, and what is known.
    pub(in crate::log) fn labels(
        &self,
        keys: &[u128],
        found: &mut dyn FnMut(usize, Known),
    ) -> Result<(), Problem> {
        for kept in self.files.iter().filter(|kept| kept.file.entries().1 > 0) {
            let mut buffer = Buffer::default();
            for (place, key) in keys.iter().enumerate() {
                kept.file.find_label(*key, &mut buffer, &mut |stretch, known| {
                    if kept.counts(stretch) {
                        found(place, known);
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Which of these segments may hold a record with one of these keys.
    pub(in crate::log) fn holding<'a>(
        &self,
        keys: &[u128],
        segments: impl IntoIterator<Item = &'a Segment>,
    ) -> Result<Vec<&'a Segment>, Problem> {
        let mut places: HashSet<(String, u64, u64)> = HashSet::new();
        self.records(keys, &mut |_, file, stretch| {
            if let Some(stretch) = file.stretches.get(stretch as usize) {
                places.insert((stretch.replica.clone(), stretch.from, stretch.to));
            }
        })?;
        let touched = |segment: &&Segment| {
            places.iter().any(|(replica, from, to)| {
                *replica == segment.replica && *from < segment.to && segment.from < *to
            })
        };
        Ok(segments.into_iter().filter(touched).collect())
    }

    /// Records and labels that count, and what labels found.
    pub(in crate::log) fn totals(&self) -> (u64, u64, Counts) {
        self.totals
    }

    /// Bytes of memory, and bytes on disk.
    pub(in crate::log) fn size(&self) -> (u64, u64) {
        let sizes = self.files.iter().map(|kept| kept.file.size());
        sizes.fold((0, 0), |(memory, disk), (more, on_disk)| (memory + more, disk + on_disk))
    }
}
