//! The Merkle tree of RFC 6962 (section 2.1), stored as tiles of 256 hashes (C2SP `tlog-tiles`).
//!
//! A tile at level `l` holds roots of whole subtrees of `256^l` leaves. Only the last, unfinished tile of each level is
//! kept here; that is all that is needed to append and to compute the root.

use sha2::{Digest as _, Sha256};
use steersman_domain::{ErrorKind, Problem};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hashes in a full tile.
pub const TILE_WIDTH: usize = 256;

/// The hash of a leaf: `SHA-256(0x00 || bytes)`.
///
/// ```
/// let hash = steersman_ledger::tree::leaf_hash(b"");
/// assert!(hex::encode(hash).starts_with("6e340b9cffb37a98"));
/// ```
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// The hash of a node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root over `hashes`, split at the largest power of two below their number; of none, the hash of nothing.
fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Sha256::digest([]).into(),
        [only] => *only,
        _ => {
            let half = hashes.len().next_power_of_two() / 2;
            node_hash(&root_of(&hashes[..half]), &root_of(&hashes[half..]))
        }
    }
}

/// One tile: up to 256 hashes of one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// 0 holds leaf hashes; each level above, roots of the full tiles below.
    pub level: u8,
    /// Position in its level.
    pub index: u64,
    /// Hashes, one after the other.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// Its path below the log's address (C2SP `tlog-tiles`): `tile/0/x001/234.p/5`.
    ///
    /// ```
    /// use steersman_ledger::Tile;
    /// let tile = Tile { level: 0, index: 1_234_067, hashes: vec![[0; 32]; 5] };
    /// assert_eq!(tile.path(), "tile/0/x001/x234/067.p/5");
    /// ```
    pub fn path(&self) -> String {
        let mut parts = vec![format!("{:03}", self.index % 1_000)];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            parts.push(format!("x{:03}", rest % 1_000));
            rest /= 1_000;
        }
        parts.reverse();
        let width = self.hashes.len();
        let partial = if width < TILE_WIDTH { format!(".p/{width}") } else { String::new() };
        format!("tile/{}/{}{partial}", self.level, parts.join("/"))
    }

    /// The bytes of the tile.
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.concat()
    }
}

/// A tree that grows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// The unfinished tile of each level, from the leaves up.
    levels: Vec<Tile>,
}

impl Tree {
    /// The tree over `size` leaves whose unfinished tiles `tile` gives, or what is wrong with them.
    pub fn restore(size: u64, mut tile: impl FnMut(u8, u64) -> Option<Vec<u8>>) -> Result<Self, Problem> {
        let mut levels = Vec::new();
        let (mut count, width) = (size, TILE_WIDTH as u64);
        for level in 0.. {
            if count == 0 {
                break;
            }
            let (index, rest) = (count / width, count % width);
            let bytes = if rest == 0 { Vec::new() } else { tile(level, index).unwrap_or_default() };
            let (hashes, left) = bytes.as_chunks::<32>();
            if hashes.len() as u64 != rest || !left.is_empty() {
                let message = format!("tile {level}/{index} of the ledger does not hold {rest} hashes");
                return Err(Problem::new(ErrorKind::Corrupt, message));
            }
            levels.push(Tile { level, index, hashes: hashes.to_vec() });
            count = index;
        }
        Ok(Self { size, levels })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf and returns the tiles that this finished, lowest first.
    pub fn append(&mut self, leaf: Hash) -> Vec<Tile> {
        self.size += 1;
        let mut finished = Vec::new();
        let mut carried = Some(leaf);
        let mut level = 0;
        while let Some(hash) = carried.take() {
            if self.levels.len() == level {
                let number = u8::try_from(level).unwrap_or(u8::MAX);
                self.levels.push(Tile { level: number, index: 0, hashes: Vec::new() });
            }
            let tile = &mut self.levels[level];
            tile.hashes.push(hash);
            if tile.hashes.len() == TILE_WIDTH {
                carried = Some(root_of(&tile.hashes));
                let next = Tile { level: tile.level, index: tile.index + 1, hashes: Vec::new() };
                finished.push(std::mem::replace(tile, next));
            }
            level += 1;
        }
        finished
    }

    /// The unfinished tiles, lowest level first.
    pub fn unfinished(&self) -> impl Iterator<Item = &Tile> {
        self.levels.iter().filter(|tile| !tile.hashes.is_empty())
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        // A subtree that is not full stands to the right of all full ones of the level above.
        let mut lower: Option<Hash> = None;
        for tile in &self.levels {
            let hashes: Vec<Hash> = tile.hashes.iter().copied().chain(lower).collect();
            if !hashes.is_empty() {
                lower = Some(root_of(&hashes));
            }
        }
        lower.unwrap_or_else(|| root_of(&[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The leaves of the Certificate Transparency reference tests, and the roots of their first n.
    #[test]
    fn the_reference_roots_of_certificate_transparency() {
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots =
            ["6e340b9c", "fac54203", "aeb6bcfe", "d37ee418", "4e3bbb1f", "76e67dad", "ddb89be4", "5dc9da79"];
        let mut tree = Tree::default();
        assert_eq!(hex::encode(tree.root())[..8], *"e3b0c442");
        for (leaf, root) in leaves.iter().zip(roots) {
            tree.append(leaf_hash(&hex::decode(leaf).unwrap()));
            assert_eq!(hex::encode(tree.root())[..8], *root);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn the_root_from_tiles_is_the_root_from_leaves(count in 0usize..1_500) {
            let leaves: Vec<Hash> = (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect();
            let mut tree = Tree::default();
            leaves.iter().for_each(|leaf| drop(tree.append(*leaf)));
            prop_assert_eq!(tree.root(), root_of(&leaves));
        }
    }
}
