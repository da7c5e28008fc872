//! Which ids are there: what makes a record that is sent again change nothing, and what joins labels with records.
//!
//! The ids of the tail are in memory (`recent`). Those of segments are in files on this process's disk, sorted by key
//! (`file`, `pages`): for each record its key, for each label its key and what it says. Such a file belongs to stretches of
//! positions that segments hold; a row counts for as long as a segment of the catalogue covers its stretch whole (`files`).
//! So nothing needs to be removed when old segments go, and what segments lose by erasure is seen. Small files become
//! larger ones beside (`merge`), so a key is looked for in few of them, and a filter in memory says of most that they do
//! not hold it (`filter`). Memory has a limit for all models together (`memory`): beyond it filters and keys are looked for
//! in the files, which takes longer and changes no answer.
//!
//! All of it can be made again from the segments: a file that is missing or damaged is.
//!
//! INVARIANT: a file has its name only after the keys of records that it shares with others are written down
//! (`doubles`), so a record that two replicas took in is known as one after every restart.

mod doubles;
mod file;
mod files;
mod filter;
mod keys;
mod memory;
mod merge;
mod pages;
mod recent;

pub(super) use doubles::{read_doubles, write_doubles};
pub(super) use file::{IdFile, Part, Stretch, origin};
pub(super) use files::{IdFiles, Missing, Names};
pub(super) use keys::Keys;
pub(super) use memory::Memory;
pub(super) use merge::merge;
pub(super) use recent::{Asked, Counts, Known, Recents};
