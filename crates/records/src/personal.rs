//! Values about persons: hashed or left out before they reach a disk.
//!
//! A hash is HMAC-SHA-256 with a secret of the deployment over the name of the column and the value as a category, cut to
//! 128 bits. The same value gives the same hash in the same column of every model, so it can be counted, watched and
//! joined; nobody without the secret can tell what it was, nor try values out. A value that looks like a hash is left as it
//! is, so that what was exported can be taken in again.

use crate::archive::write_parquet;
use crate::frame::{Frame, Selection};
use crate::secret::Secret;
use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use steersman_domain::Problem;
use steersman_domain::spec::Personal as Treatment;

const MARK: &str = "hash:";
/// Bytes of a hash.
const BYTES: usize = 16;

/// What becomes of the personal columns of a model.
#[derive(Clone)]
pub struct Personal {
    columns: BTreeMap<String, Treatment>,
    key: Hmac<Sha256>,
}

impl std::fmt::Debug for Personal {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Personal").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Personal {
    /// These columns, with a secret.
    pub fn new(columns: &BTreeMap<String, Treatment>, secret: &Secret) -> Result<Self, Problem> {
        let key =
            Hmac::new_from_slice(secret.bytes()).map_err(|error| Problem::internal(error.to_string()))?;
        Ok(Self { columns: columns.clone(), key })
    }

    /// Whether the values of a column are left out.
    pub fn drops(&self, column: &str) -> bool {
        self.columns.get(column) == Some(&Treatment::Drop)
    }

    /// What stands for a value of a column; itself where the column is not hashed.
    pub fn stand_in(&self, column: &str, value: &str) -> String {
        match self.columns.get(column) {
            Some(Treatment::Hash) if !hashed(value) => {
                let mut hash = self.key.clone();
                hash.update(column.as_bytes());
                hash.update(&[0]);
                hash.update(value.as_bytes());
                let bytes = hash.finalize().into_bytes();
                let digits = bytes.iter().take(BYTES).map(|byte| format!("{byte:02x}"));
                MARK.chars().chain(digits.collect::<String>().chars()).collect()
            }
            _ => value.to_owned(),
        }
    }

    /// Tells one secret from another without giving it away.
    pub fn mark(secret: &Secret) -> Result<String, Problem> {
        let columns = BTreeMap::from([("mark".to_owned(), Treatment::Hash)]);
        Ok(Self::new(&columns, secret)?.stand_in("mark", "mark"))
    }

    /// A batch of records with hashes in it.
    pub(crate) fn batch(&self, batch: &RecordBatch) -> Result<RecordBatch, Problem> {
        let mut columns = batch.columns().to_vec();
        for (field, column) in batch.schema_ref().fields().iter().zip(&mut columns) {
            if self.columns.get(field.name()) == Some(&Treatment::Hash)
                && let Some(texts) = column.as_string_opt::<i32>()
            {
                let texts = texts.iter().map(|text| text.map(|text| self.stand_in(field.name(), text)));
                *column = Arc::new(texts.collect::<StringArray>());
            }
        }
        RecordBatch::try_new(batch.schema(), columns).map_err(|error| Problem::internal(error.to_string()))
    }

    /// Writes a copy of a reference file, as Parquet, with hashes in it and without what is left out.
    pub fn copy_reference(&self, from: &Path, to: &Path) -> Result<(), Problem> {
        let frame = Frame::read(&from.display().to_string(), &Selection::default())?;
        for name in self.columns.keys() {
            frame.require(name).map_err(|problem| problem.field(format!("data.personal.{name}")))?;
        }
        let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
        for column in &frame.columns {
            let values: ArrayRef = match self.columns.get(&column.name) {
                Some(Treatment::Drop) => continue,
                Some(Treatment::Hash) => {
                    let category =
                        |row| column.category(row).map(|value| self.stand_in(&column.name, &value));
                    Arc::new((0..column.len()).map(category).collect::<StringArray>())
                }
                None => column.values.clone(),
            };
            columns.push((Field::new(&column.name, values.data_type().clone(), true), values));
        }
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let fields = Arc::new(ArrowSchema::new(fields));
        let batch = RecordBatch::try_new(fields.clone(), columns);
        let batch = batch.map_err(|error| Problem::internal(error.to_string()))?;
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Problem::io("make the folder", folder, &error))?;
        }
        write_parquet(to, &fields, &[batch])
    }
}

/// Whether a value is a hash already.
fn hashed(value: &str) -> bool {
    value.strip_prefix(MARK).is_some_and(|digits| {
        digits.len() == 2 * BYTES && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_hash_in_a_column_and_another_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["a", "b"].map(|name| Secret::open(&dir.path().join(name)).unwrap());
        let columns = BTreeMap::from([
            ("customer".to_owned(), Treatment::Hash),
            ("partner".to_owned(), Treatment::Hash),
            ("street".to_owned(), Treatment::Drop),
        ]);
        let [one, other] = [&first, &second].map(|secret| Personal::new(&columns, secret).unwrap());
        let hash = one.stand_in("customer", "Ada");
        assert!(hashed(&hash) && hash != one.stand_in("partner", "Ada"));
        assert_eq!(
            (one.stand_in("customer", "Ada"), one.stand_in("customer", &hash)),
            (hash.clone(), hash.clone())
        );
        assert!(other.stand_in("customer", "Ada") != hash && one.stand_in("customer", "Bob") != hash);
        assert_eq!(one.stand_in("town", "Bonn"), "Bonn");
        assert!(one.drops("street") && !one.drops("customer"));
        let again = Secret::open(&dir.path().join("a")).unwrap();
        assert_eq!(Personal::mark(&again).unwrap(), Personal::mark(&first).unwrap());
        assert!(
            !format!("{one:?} {first:?}").contains(std::str::from_utf8(&first.bytes()[..4]).unwrap_or("?"))
        );
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join("a");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Secret::open(&path).unwrap_err().to_string().contains("everybody can read"));
    }
}
