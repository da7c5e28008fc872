//! Keys: the short form of ids. Made with a secret of this process's folder, so nobody outside can make two ids that share
//! one, and nobody who reads a file of keys can tell from it which ids there are.

use crate::Kind;
use crate::codec::Columns;
use crate::secret::Secret;
use arrow::array::{Array as _, RecordBatch};
use siphasher::sip128::Hasher128 as _;
use siphasher::sip128::SipHasher13;
use std::hash::Hasher as _;
use std::path::Path;
use steersman_domain::Problem;
use steersman_domain::record::Arm;

/// Where the secret lies, in the folder of all logs.
const SECRET: &str = "ids.key";

/// Makes keys: two ids share one with a probability of 2^-128 times their number of pairs.
#[derive(Debug, Clone)]
pub(in crate::log) struct Keys(SipHasher13);

impl Keys {
    /// With the secret of a folder, made when it is asked for first.
    pub(in crate::log) fn open(dir: &Path) -> Result<Self, Problem> {
        let secret = Secret::open(&dir.join(SECRET))?;
        let mut key = [0; 16];
        key.copy_from_slice(&secret.bytes()[..16]);
        Ok(Self(SipHasher13::new_with_key(&key)))
    }

    /// Tells keys of one secret from those of another.
    pub(super) fn mark(&self) -> u64 {
        self.0.finish()
    }

    /// The key of an id. A shadow answer has the id of the record that it copies, and a key of its own.
    pub(in crate::log) fn key(&self, id: &str, shadow: bool) -> u128 {
        let mut hasher = self.0;
        hasher.write_u8(u8::from(shadow));
        hasher.write(id.as_bytes());
        hasher.finish128().as_u128()
    }

    /// The keys of the rows of a batch.
    pub(in crate::log) fn of(&self, kind: Kind, batch: &RecordBatch) -> Result<Vec<u128>, Problem> {
        let columns = Columns(batch);
        let ids = columns.texts("id")?;
        if kind == Kind::Labels {
            return Ok((0..ids.len()).map(|row| self.key(ids.value(row), false)).collect());
        }
        let arms = columns.arms()?;
        let all_served = arms.null_count() == arms.len();
        let shadow =
            |row: usize| !all_served && !arms.is_null(row) && arms.value(row) == Arm::Shadow.as_str();
        Ok((0..ids.len()).map(|row| self.key(ids.value(row), shadow(row))).collect())
    }
}
