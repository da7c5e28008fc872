//! Frames of batches that are in memory already: their types say what they hold, nothing is guessed.

use super::{Frame, FrameColumn};
use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use steersman_domain::schema::DataKind;
use steersman_domain::{Digest, Problem};

impl Frame {
    /// A frame of the columns of a batch; those whose type is not read are left out with a note.
    pub fn from_batch(source: &str, batch: &RecordBatch) -> Result<Self, Problem> {
        let mut frame = Self {
            source: source.to_owned(),
            files: Vec::new(),
            columns: Vec::new(),
            rows: batch.num_rows(),
            notes: Vec::new(),
            digest: Digest::of(&[]),
            first_line: None,
        };
        for (field, values) in batch.schema().fields().iter().zip(batch.columns()) {
            let stored = field.data_type();
            let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            let (kind, wanted) = match stored {
                DataType::Boolean => (DataKind::Boolean, DataType::Boolean),
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                    (DataKind::Categorical, DataType::Utf8)
                }
                DataType::Timestamp(_, Some(_)) => (DataKind::Datetime, time),
                kind if kind.is_numeric() => (DataKind::Numeric, DataType::Float64),
                _ => {
                    frame.notes.push(format!("`{}` was left out: its type is not read", field.name()));
                    continue;
                }
            };
            let values = cast(values, &wanted).map_err(|error| {
                Problem::invalid(format!("cannot read the column: {error}")).field(field.name())
            })?;
            frame.columns.push(FrameColumn {
                name: field.name().clone(),
                kind,
                values,
                stored_as: stored.to_string(),
            });
        }
        Ok(frame)
    }

    /// A frame of an Arrow IPC stream.
    pub fn from_stream(source: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let wrong = |error: ArrowError| {
            Problem::invalid(format!("cannot read `{source}` as an Arrow stream: {error}"))
        };
        let reader = StreamReader::try_new(bytes, None).map_err(wrong)?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        Self::from_batch(source, &concat_batches(&schema, &batches).map_err(wrong)?)
    }
}
