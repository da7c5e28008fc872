//! Parts: a model's log as it is at one moment, read part by part and only the columns that are asked for.
//!
//! They hold the list of segments and the tail of its moment; what is taken in later is not in it. Segments are opened
//! when they are read. Labels are joined only where `label` or `label_time` is asked for.

use super::ids::IdFiles;
use super::model::ModelLog;
use super::taken::Doubles;
use crate::Arms;
use crate::Kind;
use crate::archive::{Held, Segment, parquet_problem};
use crate::codec::{ARM, Columns, SEQ, record_fields, time_type};
use crate::table::Scan;
use arrow::array::RecordBatchOptions;
use arrow::array::{Array, AsArray as _, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{filter_record_batch, max, min};
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema as ArrowSchema, SchemaRef, TimestampMicrosecondType,
};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::sync::Arc;
use steersman_domain::time::micros;
use steersman_domain::{ErrorKind, Problem, Schema};

/// Rows of a segment that are read at a time.
const BATCH: usize = 8_192;
const LABEL: &str = "label";
const LABEL_TIME: &str = "label_time";

/// A model's records at one moment.
#[derive(Debug)]
pub struct Parts {
    log: Arc<ModelLog>,
    fields: SchemaRef,
    parts: Vec<Part>,
    arms: Arms,
    /// Records that were taken in later are not asked for.
    as_of: Option<i64>,
    /// Records that are there twice, and pass for none here.
    doubles: Arc<Doubles>,
    /// Labels at this position and later were not there yet.
    until: u64,
    /// Ids of the segments.
    files: Arc<IdFiles>,
}

/// Which records are read; others may still be among them.
#[derive(Debug, Clone)]
pub struct Which {
    /// Those with a time from the first to the second, both included, in microseconds.
    pub span: (i64, i64),
    /// Those with one of these ids.
    pub ids: Option<Arc<[String]>>,
}

impl Default for Which {
    /// All.
    fn default() -> Self {
        Self { span: (i64::MIN, i64::MAX), ids: None }
    }
}

/// A piece of a view: a segment, or the tail.
#[derive(Debug, Clone)]
pub struct Part {
    /// Times of its records in microseconds, first and last.
    pub span: (i64, i64),
    source: Source,
}

impl Part {
    /// None of the tail.
    fn segment(&self) -> Option<&Segment> {
        match &self.source {
            Source::Segment(segment) => Some(segment),
            Source::Tail(_) => None,
        }
    }
}

#[derive(Debug, Clone)]
enum Source {
    Segment(Segment),
    Tail(Vec<RecordBatch>),
}

/// The batches of a part.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch, Problem>> + Send>;

impl Parts {
    /// Those of a log that `scan` asks for by arm and moment, in the parts that its times touch.
    pub(super) fn of(log: Arc<ModelLog>, scan: &Scan) -> Result<Self, Problem> {
        let (shape, moment) = (log.shape(), log.moment());
        let segments = moment.segments.iter().filter(|segment| scan.touches(segment.span));
        let segments = segments.filter_map(|segment| {
            Some(Part { span: segment.span?, source: Source::Segment(segment.clone()) })
        });
        let mut parts: Vec<Part> = segments.collect();
        // The tail is one part, however many appends it came in.
        let (mut tail, mut span) = (Vec::new(), None::<(i64, i64)>);
        for batch in moment.tail.iter().flat_map(|part| &part.records) {
            let times = Columns(batch).times("time")?;
            if let Some((first, last)) = min(times).zip(max(times)) {
                span = Some(span.map_or((first, last), |(from, to)| (from.min(first), to.max(last))));
                tail.push(batch.clone());
            }
        }
        if let Some(span) = span.filter(|span| scan.touches(Some(*span))) {
            parts.push(Part { span, source: Source::Tail(tail) });
        }
        let until = moment.tail.last().map_or(0, |part| part.to);
        let as_of = scan.as_of.map(micros);
        let doubles = moment.doubles.clone();
        let (fields, files) = (fields(&shape.schema), moment.files);
        Ok(Self { log, fields, parts, arms: scan.arms, as_of, doubles, until, files })
    }

    /// The columns: `id`, `time`, `version`, `latency_ms`, `status`, features, the output, `label`, `label_time`,
    /// `received_at`.
    pub fn fields(&self) -> &SchemaRef {
        &self.fields
    }

    /// The parts, segments in order of arrival and the tail last.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The parts that may hold what is asked for. Where ids are, only segments that do hold one of them are among these.
    pub fn touched(&self, which: &Which) -> Result<Vec<Part>, Problem> {
        let span = which.span;
        let touched = self.parts.iter().filter(|part| part.span.0 <= span.1 && part.span.1 >= span.0);
        let Some(ids) = &which.ids else { return Ok(touched.cloned().collect()) };
        let keys = &self.log.home.keys;
        let keys: Vec<u128> = ids.iter().map(|id| keys.key(id, self.arms == Arms::Shadow)).collect();
        let holding = self.files.holding(&keys, touched.clone().filter_map(Part::segment))?;
        let holding: HashSet<&str> = holding.iter().map(|segment| segment.object.as_str()).collect();
        let held = |part: &&Part| part.segment().is_none_or(|one| holding.contains(one.object.as_str()));
        Ok(touched.filter(held).cloned().collect())
    }

    /// Reads the columns at these places of [`Parts::fields`] from one part. Row groups that hold nothing of what is asked
    /// for are skipped.
    pub fn read(self: &Arc<Self>, part: &Part, columns: &[usize], which: &Which) -> Result<Batches, Problem> {
        let wanted = Arc::new(self.fields.project(columns).map_err(internal)?);
        let view = self.clone();
        Ok(match &part.source {
            Source::Tail(batches) => Box::new(
                batches
                    .clone()
                    .into_iter()
                    .map(move |batch| view.select(&view.log.home.replica, &batch, &wanted)),
            ),
            Source::Segment(segment) => {
                // A copy from a bucket stays for as long as it is read.
                let held = self.log.home.archive.storage.open(&segment.file(Kind::Records))?;
                let stored = self.open(&segment.replica, &held, &wanted, which)?;
                let replica = segment.replica.clone();
                Box::new(stored.map(move |batch| {
                    let corrupt = |error| {
                        Problem::new(ErrorKind::Corrupt, format!("`{}`: {error}", held.path.display()))
                    };
                    view.select(&replica, &batch.map_err(corrupt)?, &wanted)
                }))
            }
        })
    }

    /// Opens a segment for the columns that are needed to tell `wanted`.
    fn open(
        &self,
        replica: &str,
        held: &Held,
        wanted: &ArrowSchema,
        which: &Which,
    ) -> Result<parquet::arrow::arrow_reader::ParquetRecordBatchReader, Problem> {
        let path = &held.path;
        let file = File::open(path).map_err(|error| Problem::io("open", path, &error))?;
        let wrong = |error: &parquet::errors::ParquetError| parquet_problem("read", path, error);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(&error))?;
        let labelled =
            wanted.fields().iter().any(|field| [LABEL, LABEL_TIME].contains(&field.name().as_str()));
        let needed = wanted.fields().iter().map(|field| field.name().as_str());
        let needed = needed.chain([ARM]).chain(labelled.then_some("id"));
        let needed = needed.chain(self.as_of.map(|_| "received_at"));
        let needed = needed.chain(self.doubles.get(replica).map(|_| SEQ));
        let mask = ProjectionMask::columns(builder.parquet_schema(), needed);
        let mut groups = row_groups(builder.metadata(), which.span);
        if let Some(ids) = &which.ids {
            groups = with_ids(&builder, groups, ids).map_err(|error| wrong(&error))?;
        }
        let builder = builder.with_projection(mask).with_row_groups(groups).with_batch_size(BATCH);
        builder.build().map_err(|error| wrong(&error))
    }

    /// The wanted columns of the wanted rows of a stored batch. A column that the batch's time did not have is missing.
    fn select(
        &self,
        replica: &str,
        stored: &RecordBatch,
        wanted: &SchemaRef,
    ) -> Result<RecordBatch, Problem> {
        let stored = match self.mask(stored, self.doubles.get(replica)) {
            Some(mask) => filter_record_batch(stored, &mask).map_err(internal)?,
            None => stored.clone(),
        };
        let labelled =
            wanted.fields().iter().any(|field| [LABEL, LABEL_TIME].contains(&field.name().as_str()));
        let as_of = self.as_of.unwrap_or(i64::MAX);
        let labels = labelled.then(|| self.log.labels(&stored, as_of, self.until)).transpose()?;
        let column = |field: &Arc<Field>| {
            let known = match (field.name().as_str(), &labels) {
                (LABEL, Some((labels, _))) => Some(labels),
                (LABEL_TIME, Some((_, times))) => Some(times),
                (name, _) => stored.column_by_name(name),
            };
            match known {
                Some(column) if column.data_type() == field.data_type() => column.clone(),
                _ => new_null_array(field.data_type(), stored.num_rows()),
            }
        };
        let columns = wanted.fields().iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(stored.num_rows()));
        RecordBatch::try_new_with_options(wanted.clone(), columns, &options).map_err(internal)
    }

    /// Which rows are asked for; none where all are.
    fn mask(&self, stored: &RecordBatch, doubles: Option<&BTreeSet<u64>>) -> Option<BooleanArray> {
        let texts = |name: &str| stored.column_by_name(name)?.as_string_opt::<i32>();
        let moments =
            |name: &str| stored.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>();
        let arms = texts(ARM);
        let shadow = |row: usize| arms.is_some_and(|arms| arms.is_valid(row) && arms.value(row) == "shadow");
        let received = moments("received_at").zip(self.as_of);
        let seqs = stored.column_by_name(SEQ).and_then(|seqs| seqs.as_primitive_opt::<Int64Type>());
        let double = seqs.zip(doubles);
        let double = |row: usize| {
            double.is_some_and(|(seqs, doubles)| doubles.contains(&seqs.value(row).cast_unsigned()))
        };
        let wanted = |row: usize| {
            !double(row)
                && shadow(row) == (self.arms == Arms::Shadow)
                && received.is_none_or(|(received, as_of)| received.value(row) <= as_of)
        };
        let mask: BooleanArray = (0..stored.num_rows()).map(|row| Some(wanted(row))).collect();
        (mask.true_count() < stored.num_rows()).then_some(mask)
    }
}

/// The columns: of every record, features, the output, the label.
fn fields(schema: &Schema) -> SchemaRef {
    let stored = record_fields(schema);
    let field = |name: &str| stored.field_with_name(name).ok().cloned();
    let first = ["id", "time", "version", "latency_ms", "status"].into_iter().filter_map(field);
    let own = schema.features.iter().chain([&schema.prediction]).filter_map(|column| field(&column.name));
    let label = [Field::new(LABEL, DataType::Float64, true), Field::new(LABEL_TIME, time_type(), true)];
    Arc::new(ArrowSchema::new(first.chain(own).chain(label).chain(field("received_at")).collect::<Vec<_>>()))
}

/// The row groups that may hold a time of the span.
fn row_groups(metadata: &ParquetMetaData, (from, to): (i64, i64)) -> Vec<usize> {
    let place =
        metadata.file_metadata().schema_descr().columns().iter().position(|column| column.name() == "time");
    let touches = |group: usize| {
        let statistics = place.and_then(|place| metadata.row_group(group).columns().get(place)?.statistics());
        match statistics {
            Some(Statistics::Int64(times)) => {
                times.min_opt().is_none_or(|first| *first <= to)
                    && times.max_opt().is_none_or(|last| *last >= from)
            }
            _ => true,
        }
    };
    (0..metadata.num_row_groups()).filter(|group| touches(*group)).collect()
}

/// Those of these row groups whose Bloom filter does not rule all of the ids out.
fn with_ids(
    builder: &ParquetRecordBatchReaderBuilder<File>,
    groups: Vec<usize>,
    ids: &[String],
) -> Result<Vec<usize>, parquet::errors::ParquetError> {
    let columns = builder.parquet_schema().columns();
    let Some(place) = columns.iter().position(|column| column.name() == "id") else { return Ok(groups) };
    let mut kept = Vec::new();
    for group in groups {
        let filter = builder.get_row_group_column_bloom_filter(group, place)?;
        if filter.is_none_or(|filter| ids.iter().any(|id| filter.check(id.as_str()))) {
            kept.push(group);
        }
    }
    Ok(kept)
}

fn internal(error: arrow::error::ArrowError) -> Problem {
    Problem::internal(error.to_string())
}
