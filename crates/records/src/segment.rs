//! Segments: Parquet files of records and of labels that no longer change.
//!
//! A pair of files holds the arrivals of a range of positions, which is their name. Files are written beside, synced
//! and renamed, labels first: a segment is there when its records file is.

use arrow::array::{RecordBatch, RecordBatchReader as _};
use arrow::compute::concat_batches;
use arrow::datatypes::Schema as ArrowSchema;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steersman_domain::{ErrorKind, Problem};

/// Rows that are read at a time.
const BATCH: usize = 65_536;
/// Rows that are stored together: a window of time is read without its neighbours.
const ROW_GROUP: usize = 16_384;

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
    /// Records.
    pub(crate) records: u64,
    /// Labels.
    pub(crate) labels: u64,
}

/// The columns of a file, and its rows.
pub(crate) type Part<'a> = (&'a Arc<ArrowSchema>, &'a [RecordBatch]);

impl Segment {
    /// A segment of these positions, of which nothing else is known yet.
    pub(crate) fn new(from: u64, to: u64) -> Self {
        Self { from, to, span: None, received_until: i64::MIN, records: 0, labels: 0 }
    }

    pub(crate) fn records_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("records-{:012}-{:012}.parquet", self.from, self.to))
    }

    pub(crate) fn labels_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("labels-{:012}-{:012}.parquet", self.from, self.to))
    }

    /// Writes both files.
    pub(crate) fn write(&self, dir: &Path, records: Part<'_>, labels: Part<'_>) -> Result<(), Problem> {
        write_parquet(&self.labels_path(dir), labels.0, labels.1)?;
        write_parquet(&self.records_path(dir), records.0, records.1)?;
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
            segments.push(Segment::new(from, to));
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

/// Writes batches as a Parquet file that is there whole or not at all.
pub(crate) fn write_parquet(
    path: &Path,
    fields: &Arc<ArrowSchema>,
    batches: &[RecordBatch],
) -> Result<(), Problem> {
    let partial = path.with_added_extension("partial");
    let written = write_partial(&partial, fields, batches);
    if written.is_err() {
        // On a full disk half a file would keep the room that is needed.
        let _ = std::fs::remove_file(&partial);
    }
    written?;
    std::fs::rename(&partial, path).map_err(|error| Problem::io("rename", &partial, &error))
}

fn write_partial(partial: &Path, fields: &Arc<ArrowSchema>, batches: &[RecordBatch]) -> Result<(), Problem> {
    let file = File::create(partial).map_err(|error| Problem::io("make", partial, &error))?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP));
    for field in fields.fields().iter().filter(|field| field.data_type().is_floating()) {
        // Measured numbers hardly repeat: a dictionary would be built and thrown away.
        let column = ColumnPath::new(vec![field.name().clone()]);
        properties = properties.set_column_dictionary_enabled(column, false);
    }
    let write = || -> Result<File, parquet::errors::ParquetError> {
        let mut writer = ArrowWriter::try_new(file, fields.clone(), Some(properties.build()))?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.into_inner()
    };
    let file = write().map_err(|error| parquet_problem("write", partial, &error))?;
    file.sync_all().map_err(|error| Problem::io("sync", partial, &error))
}

/// Reads the records of a segment, without row groups that lie outside `times`, in microseconds: from, and before.
pub(crate) fn read_records(path: &Path, times: (i64, i64)) -> Result<RecordBatch, Problem> {
    let builder = open_parquet(path)?;
    let place = builder.parquet_schema().columns().iter().position(|column| column.name() == "time");
    let inside = |group: &usize| {
        let statistics =
            place.and_then(|place| builder.metadata().row_group(*group).column(place).statistics());
        let Some(Statistics::Int64(statistics)) = statistics else { return true };
        let (first, last) = (statistics.min_opt(), statistics.max_opt());
        first.is_none_or(|first| *first < times.1) && last.is_none_or(|last| *last >= times.0)
    };
    let groups = (0..builder.metadata().num_row_groups()).filter(inside).collect();
    gather(path, builder.with_row_groups(groups))
}

fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, Problem> {
    let file = File::open(path).map_err(|error| Problem::io("open", path, &error))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| parquet_problem("read", path, &error))
}

fn gather(path: &Path, builder: ParquetRecordBatchReaderBuilder<File>) -> Result<RecordBatch, Problem> {
    let reader =
        builder.with_batch_size(BATCH).build().map_err(|error| parquet_problem("read", path, &error))?;
    let schema = reader.schema();
    let damaged = |error: arrow::error::ArrowError| {
        Problem::new(ErrorKind::Corrupt, format!("`{}`: {error}", path.display()))
    };
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
    concat_batches(&schema, &batches).map_err(damaged)
}

/// Reads a Parquet file, only `columns` where they are named.
pub(crate) fn read_parquet(path: &Path, columns: Option<&[&str]>) -> Result<RecordBatch, Problem> {
    let builder = open_parquet(path)?;
    let builder = match columns {
        Some(columns) => {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder.with_projection(mask)
        }
        None => builder,
    };
    gather(path, builder)
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
