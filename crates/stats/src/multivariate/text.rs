//! Texts as numbers: hashed n-grams, for the joint tests.

use crate::error::StatsError;
use serde::{Deserialize, Serialize};

/// Letters in a row that make a feature.
const LETTERS: usize = 3;
/// More columns help no test of a few hundred rows.
const MOST_COLUMNS: usize = 4_096;

/// Texts as a fixed number of columns without a vocabulary: each word, pair of neighbouring words and run of three
/// characters within a word adds +1 or -1 to one column, both by its hash, so that collisions cancel on average
/// (Weinberger et al., *Feature hashing for large scale multitask learning*, ICML 2009). Counts are damped by
/// their square root, and each row is brought to length 1, so that long texts do not outweigh short ones. Case does not
/// matter; a word is a run of letters and digits.
///
/// The columns go into [`mmd`](super::mmd) and [`domain_drift`](super::domain_drift).
///
/// ```
/// use steersman_stats::multivariate::TextFeatures;
/// let features = TextFeatures::new(64).unwrap();
/// let columns = features.columns(["Where is my refund?", "where is MY refund", ""]);
/// assert!(columns.len() == 64 && columns.iter().all(|column| column[0] == column[1] && column[2] == 0.0));
/// let length: f64 = columns.iter().map(|column| column[0] * column[0]).sum();
/// assert!((length - 1.0).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextFeatures {
    columns: usize,
}

impl TextFeatures {
    /// Features in `columns` columns, 2 to 4,096; 128 are enough for windows of a few hundred texts.
    pub fn new(columns: usize) -> Result<Self, StatsError> {
        if !(2..=MOST_COLUMNS).contains(&columns) {
            return Err(StatsError::Domain("texts become 2 to 4096 columns"));
        }
        Ok(Self { columns })
    }

    /// One row a text, by columns.
    pub fn columns<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Vec<Vec<f64>> {
        let mut columns = vec![Vec::new(); self.columns];
        for text in texts {
            for (column, value) in columns.iter_mut().zip(self.row(text)) {
                column.push(value);
            }
        }
        columns
    }

    fn row(&self, text: &str) -> Vec<f64> {
        let mut row = vec![0.0f64; self.columns];
        let mut add = |feature: &[&str]| {
            let hash = hash(feature);
            // The lowest bit is the sign, the highest ones are the column.
            let column = ((u128::from(hash) * self.columns as u128) >> 64) as usize;
            if let Some(entry) = row.get_mut(column) {
                *entry += if hash & 1 == 0 { 1.0 } else { -1.0 };
            }
        };
        let lower = text.to_lowercase();
        let mut before = None;
        for word in lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
            add(&["word", word]);
            if let Some(before) = before {
                add(&["words", before, word]);
            }
            before = Some(word);
            let marked: Vec<char> = format!("<{word}>").chars().collect();
            for letters in marked.windows(LETTERS) {
                add(&["letters", &letters.iter().collect::<String>()]);
            }
        }
        for entry in &mut row {
            *entry = entry.signum() * entry.abs().sqrt();
        }
        let length = row.iter().map(|entry| entry * entry).sum::<f64>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|entry| *entry /= length);
        }
        row
    }
}

/// FNV-1a over the parts, each ended by a byte that no text holds, then mixed so that every bit depends on every byte
/// (the finaliser of SplitMix64).
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, fold);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
