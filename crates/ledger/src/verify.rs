//! Checks a whole log offline: every leaf, every tile, the signed root, and that the facts make sense together.

use crate::checkpoint::Verifier;
use crate::leaf::decode;
use crate::state::State;
use crate::tree::{Hash, Tile, Tree, leaf_hash};
use steersman_domain::{ErrorKind, Problem};

/// What was found to be in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Number of entries.
    pub size: u64,
    /// The root over them, as signed.
    pub root: Hash,
    /// What follows from them.
    pub state: State,
}

/// Verifies a log, entry by entry.
#[derive(Debug)]
pub struct LogVerifier<'a> {
    verifier: Verifier,
    checkpoint: &'a str,
    tree: Tree,
    state: State,
}

impl<'a> LogVerifier<'a> {
    /// Begins with the key of the log and its last checkpoint.
    pub fn new(verifier_key: &str, checkpoint: &'a str) -> Result<Self, Problem> {
        let verifier = Verifier::parse(verifier_key)?;
        verifier.verify(checkpoint)?;
        Ok(Self { verifier, checkpoint, tree: Tree::default(), state: State::default() })
    }

    /// Takes the next leaf in. `tile` gives the stored bytes of a tile; it is asked for each one that this finishes.
    pub fn leaf(
        &mut self,
        bytes: &[u8],
        mut tile: impl FnMut(u8, u64) -> Result<Option<Vec<u8>>, Problem>,
    ) -> Result<(), Problem> {
        let entry = decode(self.tree.size(), bytes)?;
        for finished in self.tree.append(leaf_hash(bytes)) {
            check_tile(&finished, tile(finished.level, finished.index)?)?;
        }
        self.state.apply(&entry)
    }

    /// After the last leaf: the unfinished tiles, the size and the root.
    pub fn finish(
        self,
        mut tile: impl FnMut(u8, u64) -> Result<Option<Vec<u8>>, Problem>,
    ) -> Result<Verified, Problem> {
        for unfinished in self.tree.unfinished() {
            check_tile(unfinished, tile(unfinished.level, unfinished.index)?)?;
        }
        let checkpoint = self.verifier.verify(self.checkpoint)?;
        let corrupt = |message: String| Err(Problem::new(ErrorKind::Corrupt, message));
        if checkpoint.size != self.tree.size() {
            let (signed, found) = (checkpoint.size, self.tree.size());
            return corrupt(format!("the checkpoint is over {signed} entries, but the log holds {found}"));
        }
        if checkpoint.root != self.tree.root() {
            return corrupt(
                "the entries do not give the root that was signed: one of them was changed".to_owned(),
            );
        }
        Ok(Verified { size: checkpoint.size, root: checkpoint.root, state: self.state })
    }
}

fn check_tile(computed: &Tile, stored: Option<Vec<u8>>) -> Result<(), Problem> {
    let path = computed.path();
    let corrupt = |what: &str| Err(Problem::new(ErrorKind::Corrupt, format!("{path} {what}")));
    match stored {
        None => corrupt("is missing"),
        Some(bytes) if bytes != computed.bytes() => corrupt("does not hold the hashes of the entries"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Signer;
    use crate::leaf::encode;
    use jiff::Timestamp;
    use std::collections::BTreeMap;
    use steersman_domain::{Actor, Entry, Fact};

    struct Log {
        leaves: Vec<Vec<u8>>,
        tiles: BTreeMap<(u8, u64), Vec<u8>>,
        checkpoint: String,
        key: String,
    }

    fn log(count: u64) -> Log {
        let signer = Signer::new("steersman.test", &[3; 32]);
        let (mut tree, mut tiles, mut leaves) = (Tree::default(), BTreeMap::new(), Vec::new());
        for seq in 0..count {
            let fact = Fact::PlatformStarted { program: format!("{seq}") };
            let actor = Actor::Platform("act".to_owned());
            let entry = Entry { seq, time: Timestamp::UNIX_EPOCH, actor, because: Vec::new(), fact };
            let bytes = encode(&entry).unwrap();
            for tile in tree.append(leaf_hash(&bytes)) {
                tiles.insert((tile.level, tile.index), tile.bytes());
            }
            leaves.push(bytes);
        }
        for tile in tree.unfinished() {
            tiles.insert((tile.level, tile.index), tile.bytes());
        }
        Log { leaves, tiles, checkpoint: signer.sign(count, &tree.root()), key: signer.verifier_key() }
    }

    fn verify(log: &Log) -> Result<Verified, Problem> {
        let tile = |level, index| Ok(log.tiles.get(&(level, index)).cloned());
        let mut verifier = LogVerifier::new(&log.key, &log.checkpoint)?;
        for leaf in &log.leaves {
            verifier.leaf(leaf, tile)?;
        }
        verifier.finish(tile)
    }

    #[test]
    fn a_whole_log_is_in_order_and_any_flipped_byte_is_found() {
        let good = log(300);
        assert_eq!(verify(&good).unwrap().size, 300);
        for (position, byte) in [(0, 5), (255, 40), (299, 3)] {
            let mut bad = log(300);
            bad.leaves[position][byte] ^= 1;
            assert!(verify(&bad).is_err(), "leaf {position} byte {byte}");
        }
        for (level, index) in good.tiles.keys() {
            let mut bad = log(300);
            bad.tiles.get_mut(&(*level, *index)).unwrap()[17] ^= 1;
            assert!(verify(&bad).is_err(), "tile {level} {index}");
        }
    }

    #[test]
    fn a_log_cut_short_or_reordered_is_found() {
        let mut short = log(300);
        short.leaves.pop();
        assert!(verify(&short).is_err());
        let mut swapped = log(300);
        swapped.leaves.swap(3, 4);
        assert!(verify(&swapped).is_err());
    }
}
