//! Segments: Parquet files of records and of labels that no longer change.
//!
//! A pair of files holds the arrivals of a range of positions, which is their name. Files are written beside, synced
//! and renamed, labels first: a segment is there when its records file is.

use arrow::array::{RecordBatch, RecordBatchReader as _};
use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::{Path, PathBuf};
use steersman_domain::{ErrorKind, Problem};

/// Rows that are read at a time.
const BATCH: usize = 65_536;

/// A segment on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// First position.
    pub(crate) from: u64,
    /// First position after.
    pub(crate) to: u64,
    /// Record times in microseconds, first and last; none without records.
    pub(crate) span: Option<(i64, i64)>,
    /// When the last of it was taken in, in microseconds.
    pub(crate) received_until: i64,
}

impl Segment {
    pub(crate) fn records_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("records-{:012}-{:012}.parquet", self.from, self.to))
    }

    pub(crate) fn labels_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("labels-{:012}-{:012}.parquet", self.from, self.to))
    }

    /// Writes both files.
    pub(crate) fn write(
        &self,
        dir: &Path,
        records: &RecordBatch,
        labels: &RecordBatch,
    ) -> Result<(), Problem> {
        write_parquet(&self.labels_path(dir), labels)?;
        write_parquet(&self.records_path(dir), records)?;
        sync_dir(dir)
    }
}

/// The segments of a folder by position; they must follow each other without gaps. Files of a segment that was never
/// finished are removed.
pub(crate) fn list(dir: &Path) -> Result<Vec<Segment>, Problem> {
    let mut segments = Vec::new();
    let mut labels = Vec::new();
    let entries = std::fs::read_dir(dir).map_err(|error| Problem::io("list", dir, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| Problem::io("list", dir, &error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".partial") {
            std::fs::remove_file(&path).map_err(|error| Problem::io("remove", &path, &error))?;
        } else if let Some((from, to)) = range(&name, "records-") {
            segments.push(Segment { from, to, span: None, received_until: i64::MIN });
        } else if let Some(range) = range(&name, "labels-") {
            labels.push((range, path));
        }
    }
    for ((from, to), path) in labels {
        if !segments.iter().any(|segment| (segment.from, segment.to) == (from, to)) {
            std::fs::remove_file(&path).map_err(|error| Problem::io("remove", &path, &error))?;
        }
    }
    segments.sort_by_key(|segment| segment.from);
    let mut next = 0;
    for segment in &segments {
        if segment.from != next || segment.to < segment.from || !segment.labels_path(dir).exists() {
            let message = format!("segments of `{}` are missing around position {next}", dir.display());
            return Err(Problem::new(ErrorKind::Corrupt, message).hint("restore the folder from a backup"));
        }
        next = segment.to;
    }
    Ok(segments)
}

fn range(name: &str, prefix: &str) -> Option<(u64, u64)> {
    let (from, to) = name.strip_prefix(prefix)?.strip_suffix(".parquet")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// Writes a batch as a Parquet file that is there whole or not at all.
pub(crate) fn write_parquet(path: &Path, batch: &RecordBatch) -> Result<(), Problem> {
    let partial = path.with_added_extension("partial");
    let file = File::create(&partial).map_err(|error| Problem::io("make", &partial, &error))?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let write = || -> Result<File, parquet::errors::ParquetError> {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
        writer.write(batch)?;
        writer.into_inner()
    };
    let file = write().map_err(|error| parquet_problem("write", &partial, &error))?;
    file.sync_all().map_err(|error| Problem::io("sync", &partial, &error))?;
    std::fs::rename(&partial, path).map_err(|error| Problem::io("rename", &partial, &error))
}

/// Reads a Parquet file, only `columns` where they are named.
pub(crate) fn read_parquet(path: &Path, columns: Option<&[&str]>) -> Result<RecordBatch, Problem> {
    let file = File::open(path).map_err(|error| Problem::io("open", path, &error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| parquet_problem("read", path, &error))?;
    let builder = match columns {
        Some(columns) => {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder.with_projection(mask)
        }
        None => builder,
    };
    let reader =
        builder.with_batch_size(BATCH).build().map_err(|error| parquet_problem("read", path, &error))?;
    let schema = reader.schema();
    let batches = reader
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Problem::new(ErrorKind::Corrupt, format!("`{}`: {error}", path.display())))?;
    concat_batches(&schema, &batches)
        .map_err(|error| Problem::new(ErrorKind::Corrupt, format!("`{}`: {error}", path.display())))
}

/// The batches of a Parquet file in memory, at least one; only `wanted` columns where some are named.
pub(crate) fn parquet_batches(bytes: Bytes, wanted: &[String]) -> Result<Vec<RecordBatch>, Problem> {
    let wrong = |error: String| Problem::invalid(format!("cannot read the file as Parquet: {error}"));
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| wrong(error.to_string()))?;
    let roots = builder.parquet_schema().root_schema().get_fields();
    let places: Vec<usize> =
        (0..roots.len()).filter(|&place| wanted.iter().any(|name| name == roots[place].name())).collect();
    let builder = match wanted.is_empty() {
        true => builder,
        false => {
            let mask = ProjectionMask::roots(builder.parquet_schema(), places);
            builder.with_projection(mask)
        }
    };
    let reader = builder.with_batch_size(BATCH).build().map_err(|error| wrong(error.to_string()))?;
    let schema = reader.schema();
    let mut batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(error.to_string()))?;
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    Ok(batches)
}

pub(crate) fn parquet_problem(what: &str, path: &Path, error: &parquet::errors::ParquetError) -> Problem {
    let full = matches!(error, parquet::errors::ParquetError::External(source)
        if source.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull));
    let kind = match (full, what) {
        (true, _) => ErrorKind::NoSpace,
        (false, "read") => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    };
    Problem::new(kind, format!("cannot {what} `{}` as Parquet: {error}", path.display()))
}

/// Makes renames and removals in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Problem> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| Problem::io("sync", dir, &error))
}
