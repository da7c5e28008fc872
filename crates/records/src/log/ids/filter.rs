//! A split-block Bloom filter: whether a key may be in a file, at the cost of one look at memory. Putze, Sanders, Singler,
//! "Cache-, Hash- and Space-Efficient Bloom Filters" (2007), in the form that Parquet has: eight bits of one block of 256
//! are set for each key. With ten bits a key it says yes for about one key in a hundred that is not there.

use std::array::from_fn;

const BITS_A_KEY: u64 = 10;
const BLOCK: usize = 32;
/// Odd numbers that make eight bits of one hash; those of Parquet.
const SALT: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

#[derive(Debug)]
pub(super) struct Filter {
    blocks: Vec<[u32; 8]>,
}

impl Filter {
    /// One that is to hold so many keys, and holds none.
    pub(super) fn new(keys: u64) -> Self {
        let bytes = usize::try_from(Self::size(keys)).unwrap_or(usize::MAX);
        Self { blocks: vec![[0; 8]; bytes / BLOCK] }
    }

    /// How many bytes one for so many keys takes.
    pub(super) fn size(keys: u64) -> u64 {
        keys.saturating_mul(BITS_A_KEY).div_ceil(8 * BLOCK as u64).max(1) * BLOCK as u64
    }

    /// The place of a key: its block and its bits there. Keys are hashes; files are sorted by their upper half.
    fn place(&self, key: u128) -> (usize, [u32; 8]) {
        let low = key as u64;
        let block = (u128::from(low >> 32) * self.blocks.len() as u128) >> 32;
        let bits = low as u32;
        (block as usize, from_fn(|part| 1 << (bits.wrapping_mul(SALT[part]) >> 27)))
    }

    pub(super) fn insert(&mut self, key: u128) {
        let (block, bits) = self.place(key);
        if let Some(block) = self.blocks.get_mut(block) {
            block.iter_mut().zip(bits).for_each(|(part, bit)| *part |= bit);
        }
    }

    /// False only if the key is not there.
    pub(super) fn may_hold(&self, key: u128) -> bool {
        let (block, bits) = self.place(key);
        self.blocks.get(block).is_none_or(|block| block.iter().zip(bits).all(|(part, bit)| part & bit != 0))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.blocks.iter().flatten().flat_map(|part| part.to_le_bytes()).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let part = |bytes: &[u8]| bytes.iter().rev().fold(0, |part, byte| part << 8 | u32::from(*byte));
        let block = |bytes: &[u8]| from_fn(|place| bytes.get(place * 4..place * 4 + 4).map_or(0, part));
        Self { blocks: bytes.chunks(BLOCK).map(block).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_few_others_seem_to_be() {
        let key = |number: u128| number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let mut filter = Filter::new(10_000);
        (0..10_000).for_each(|number| filter.insert(key(number)));
        let filter = Filter::from_bytes(&filter.to_bytes());
        assert!((0..10_000).all(|number| filter.may_hold(key(number))));
        let wrong = (10_000..110_000).filter(|number| filter.may_hold(key(*number))).count();
        assert!(wrong < 2_500, "{wrong} of 100000");
    }
}
