//! Rows of an answer, written as JSON, JSON lines, CSV or an Arrow stream.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, LineDelimited};
use steersman_domain::Problem;

/// What a query found.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// How many rows.
    pub rows: usize,
    /// There are more rows than were asked for.
    pub truncated: bool,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `{"columns": [{"name", "type"}], "rows": [{..}], "truncated"}`.
    #[default]
    Json,
    /// One object a line.
    Ndjson,
    /// With a line of headings.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The first format of an `Accept` header that is known; JSON where anything will do.
    pub fn accepted(header: &str) -> Option<Self> {
        let known = [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow];
        let named = |range: &str| {
            let range = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            match range.as_str() {
                "" | "*/*" | "application/*" => Some(Self::Json),
                "text/*" => Some(Self::Csv),
                other => known.into_iter().find(|format| format.media_type() == other),
            }
        };
        header.split(',').find_map(named)
    }
}

impl Answer {
    /// The answer in a format. Numbers that JSON does not have (NaN, infinite) are null there.
    pub fn write(&self, format: Format) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        let written = match format {
            Format::Json => self.write_json(&mut bytes),
            Format::Ndjson => self.write_lines(&mut bytes),
            Format::Csv => self.write_csv(&mut bytes),
            Format::Arrow => self.write_arrow(&mut bytes),
        };
        written.map_err(|error| {
            Problem::invalid(format!("the answer cannot be written: {error}"))
                .hint("cast the column, such as arrow_cast(column, 'Utf8'), or ask for another format")
        })?;
        Ok(bytes)
    }

    fn write_json(&self, bytes: &mut Vec<u8>) -> Result<(), ArrowError> {
        let column = |field: &arrow::datatypes::FieldRef| serde_json::json!({"name": field.name(), "type": field.data_type().to_string()});
        let columns: Vec<_> = self.schema.fields().iter().map(column).collect();
        bytes.extend(format!("{{\"columns\":{},\"rows\":", serde_json::Value::from(columns)).into_bytes());
        let mut writer =
            arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(&mut *bytes);
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.finish()?;
        drop(writer);
        bytes.extend(format!(",\"truncated\":{}}}", self.truncated).into_bytes());
        Ok(())
    }

    fn write_lines(&self, bytes: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut writer =
            arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(bytes);
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.finish()
    }

    fn write_csv(&self, bytes: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut writer = arrow::csv::Writer::new(bytes);
        if self.rows == 0 {
            // The headings are written with the first batch.
            return writer.write(&RecordBatch::new_empty(self.schema.clone()));
        }
        self.batches.iter().try_for_each(|batch| writer.write(batch))
    }

    fn write_arrow(&self, bytes: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut writer = StreamWriter::try_new(bytes, &self.schema)?;
        self.batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_type_counts() {
        assert_eq!(Format::accepted("*/*"), Some(Format::Json));
        assert_eq!(Format::accepted("text/html, text/csv;q=0.9"), Some(Format::Csv));
        assert_eq!(Format::accepted("application/vnd.apache.arrow.stream"), Some(Format::Arrow));
        assert_eq!(Format::accepted("image/png"), None);
    }
}
