//! Segments: Parquet files of records and of labels that no longer change.
//!
//! A pair of files holds the arrivals of a range of one replica's positions, in order of time, with the position of each
//! row in a column. They are written beside and put under a name that holds a checksum of what is in them, so a name never
//! means two things; they are there once the catalogue names them. Any reader of Parquet can read them.
//!
//! Statistics and row groups let a window of time be read without its neighbours, a bloom filter finds an id. What was
//! just taken in is packed with Snappy, which costs the least time; compaction packs what stays with Zstandard, which takes
//! less room.

use super::storage::{Held, Storage};
use arrow::array::{RecordBatch, RecordBatchReader as _};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::Schema as ArrowSchema;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use steersman_domain::{ErrorKind, Problem};

use crate::Kind;
use crate::codec::{Columns, SEQ};

/// Rows that are read at a time.
const BATCH: usize = 65_536;
/// Rows that are stored together: a window of time is read without its neighbours.
const ROW_GROUP: usize = 16_384;
/// The version of what is in the files.
const FORMAT: &str = "1";

/// A segment, as the catalogue knows it. Times are in microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// What its files are named after: `model/replica/from-to-checksum`.
    pub object: String,
    /// Whose positions they are.
    pub replica: String,
    /// First position.
    pub from: u64,
    /// First position after.
    pub to: u64,
    /// Times of records, first and last; none without records.
    pub span: Option<(i64, i64)>,
    /// When the first and the last of it were taken in.
    pub received: (i64, i64),
    /// Records.
    pub records: u64,
    /// Labels.
    pub labels: u64,
    /// Bytes of both files.
    pub bytes: u64,
}

/// The columns of a file, and its rows.
pub(crate) type Part<'a> = (&'a Arc<ArrowSchema>, &'a [RecordBatch]);

/// What becomes a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) model: &'a str,
    pub(crate) replica: &'a str,
    /// First position, and the first after.
    pub(crate) positions: (u64, u64),
    pub(crate) records: Part<'a>,
    pub(crate) labels: Part<'a>,
    /// Whether it stays: it is packed better then.
    pub(crate) lasting: bool,
}

impl Segment {
    /// The names of its two files.
    pub fn file(&self, kind: Kind) -> String {
        file(&self.object, kind)
    }

    /// The names of both files.
    pub(crate) fn files(&self) -> [String; 2] {
        [self.file(Kind::Records), self.file(Kind::Labels)]
    }

    /// All of it, as far as its columns are named, in order of arrival.
    pub(crate) fn read(
        &self,
        storage: &Storage,
        kind: Kind,
        columns: Option<&[&str]>,
    ) -> Result<Option<RecordBatch>, Problem> {
        let rows = match kind {
            Kind::Records => self.records,
            Kind::Labels => self.labels,
        };
        if rows == 0 {
            return Ok(None);
        }
        let Held { path, _pin } = storage.open(&self.file(kind))?;
        in_order(read_parquet(&path, columns)?, SEQ).map(Some)
    }
}

fn file(object: &str, kind: Kind) -> String {
    let (folder, name) = object.rsplit_once('/').unwrap_or(("", object));
    let kind = match kind {
        Kind::Records => "records",
        Kind::Labels => "labels",
    };
    format!("{folder}/{kind}-{name}.parquet")
}

/// Writes both files of a segment; they count once the catalogue names them.
pub(crate) fn write_segment(storage: &Storage, content: &Content<'_>) -> Result<Segment, Problem> {
    let Content { model, replica, positions: (from, to), records, labels, .. } = *content;
    let stem = format!("{model}/{replica}/{from:012}-{to:012}");
    let mut segment = Segment {
        object: stem.clone(),
        replica: replica.to_owned(),
        from,
        to,
        span: None,
        received: (i64::MAX, i64::MIN),
        records: 0,
        labels: 0,
        bytes: 0,
    };
    for batch in records.1.iter().chain(labels.1) {
        let received = Columns(batch).times("received_at")?.values().iter();
        segment.received = received.fold(segment.received, |(a, b), at| (a.min(*at), b.max(*at)));
    }
    for batch in records.1 {
        segment.span = Columns(batch).times("time")?.iter().flatten().fold(segment.span, widen);
        segment.records += batch.num_rows() as u64;
    }
    segment.labels = labels.1.iter().map(|batch| batch.num_rows() as u64).sum();
    let mut drafts = Vec::new();
    let mut checksum = 0;
    for (kind, (fields, batches)) in [(Kind::Labels, labels), (Kind::Records, records)] {
        let draft = storage.draft(&file(&stem, kind))?.with_added_extension("partial");
        let batch = in_order(concat(fields, batches)?, "time")?;
        write_file(&draft, &batch, properties(content, &batch, segment.records))?;
        let bytes = std::fs::read(&draft).map_err(|error| Problem::io("read", &draft, &error))?;
        checksum = crc32c::crc32c_append(checksum, &bytes);
        segment.bytes += bytes.len() as u64;
        drafts.push((draft, kind));
    }
    segment.object = format!("{stem}-{checksum:08x}");
    for (draft, kind) in drafts {
        storage.publish(&draft, &segment.file(kind))?;
    }
    Ok(segment)
}

/// A span that also holds this instant.
fn widen(span: Option<(i64, i64)>, at: i64) -> Option<(i64, i64)> {
    Some(span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))))
}

fn concat(fields: &Arc<ArrowSchema>, batches: &[RecordBatch]) -> Result<RecordBatch, Problem> {
    concat_batches(fields, batches).map_err(|error| Problem::internal(error.to_string()))
}

/// The rows in order of `column`, and of arrival where that is the same.
fn in_order(batch: RecordBatch, column: &str) -> Result<RecordBatch, Problem> {
    let wrong = |error: arrow::error::ArrowError| Problem::internal(error.to_string());
    let sort = |name: &str| {
        batch.column_by_name(name).map(|values| SortColumn { values: values.clone(), options: None })
    };
    let Some(first) = sort(column) else { return Ok(batch) };
    let by = [Some(first), sort(SEQ).filter(|_| column != SEQ)];
    let order = lexsort_to_indices(&by.into_iter().flatten().collect::<Vec<_>>(), None).map_err(wrong)?;
    if order.values().is_sorted() {
        return Ok(batch);
    }
    take_record_batch(&batch, &order).map_err(wrong)
}

fn properties(content: &Content<'_>, batch: &RecordBatch, records: u64) -> WriterPropertiesBuilder {
    let pair = |key: &str, value: String| KeyValue::new(format!("steersman.{key}"), value);
    let (from, to) = content.positions;
    let about = vec![
        pair("format", FORMAT.to_owned()),
        pair("model", content.model.to_owned()),
        pair("replica", content.replica.to_owned()),
        pair("positions", format!("{from}-{to}")),
        pair("records", records.to_string()),
    ];
    let packed = match content.lasting {
        true => Compression::ZSTD(ZstdLevel::default()),
        false => Compression::SNAPPY,
    };
    let id = ColumnPath::new(vec!["id".to_owned()]);
    let rows = batch.num_rows().clamp(1, ROW_GROUP) as u64;
    let properties = WriterProperties::builder()
        .set_compression(packed)
        .set_key_value_metadata(Some(about))
        .set_column_bloom_filter_enabled(id.clone(), true)
        .set_column_bloom_filter_max_ndv(id.clone(), rows)
        .set_column_bloom_filter_fpp(id.clone(), 0.01)
        // Ids hardly repeat.
        .set_column_dictionary_enabled(id, false);
    match batch.schema().index_of("time").ok().and_then(|place| i32::try_from(place).ok()) {
        Some(column_idx) => {
            let sorting = SortingColumn { column_idx, descending: false, nulls_first: true };
            properties.set_sorting_columns(Some(vec![sorting]))
        }
        None => properties,
    }
}

/// Writes batches as a Parquet file that is there whole or not at all.
pub(crate) fn write_parquet(
    path: &Path,
    fields: &Arc<ArrowSchema>,
    batches: &[RecordBatch],
) -> Result<(), Problem> {
    let partial = path.with_added_extension("partial");
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    write_file(&partial, &concat(fields, batches)?, properties)?;
    std::fs::rename(&partial, path).map_err(|error| Problem::io("rename", &partial, &error))
}

/// Writes a file and brings it to the disk; after an error there is none.
fn write_file(
    partial: &Path,
    batch: &RecordBatch,
    properties: WriterPropertiesBuilder,
) -> Result<(), Problem> {
    let written = write_partial(partial, batch, properties);
    if written.is_err() {
        // On a full disk half a file would keep the room that is needed.
        let _ = std::fs::remove_file(partial);
    }
    written
}

fn write_partial(
    partial: &Path,
    batch: &RecordBatch,
    properties: WriterPropertiesBuilder,
) -> Result<(), Problem> {
    let file = File::create(partial).map_err(|error| Problem::io("make", partial, &error))?;
    let fields = batch.schema();
    let mut properties = properties.set_max_row_group_row_count(Some(ROW_GROUP));
    for field in fields.fields().iter().filter(|field| field.data_type().is_floating()) {
        // Measured numbers hardly repeat: a dictionary would be built and thrown away.
        let column = ColumnPath::new(vec![field.name().clone()]);
        properties = properties.set_column_dictionary_enabled(column, false);
    }
    let write = || -> Result<File, parquet::errors::ParquetError> {
        let mut writer = ArrowWriter::try_new(file, fields, Some(properties.build()))?;
        writer.write(batch)?;
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
