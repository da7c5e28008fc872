//! Features as joint statistics read them: columns taken out of a table once, of which rows are chosen.

use crate::reference::Cells;
use steersman_domain::schema;
use steersman_records::Table;
use steersman_stats::multivariate::Column;

/// The columns of a table.
pub(super) struct Features(Vec<Cells>);

/// Chosen rows of one column.
pub(super) enum Part<'a> {
    Numbers(Vec<f64>),
    Texts(Vec<Option<&'a str>>),
}

impl Features {
    pub(super) fn of(columns: &[schema::Column], table: &Table) -> Self {
        Self(columns.iter().map(|column| Cells::of(column, table)).collect())
    }

    pub(super) fn part(&self, rows: &[usize]) -> Vec<Part<'_>> {
        let part = self.0.iter().map(|cells| match cells {
            Cells::Numbers(values) => {
                let value = |row: &usize| values.get(*row).copied().flatten().unwrap_or(f64::NAN);
                Part::Numbers(rows.iter().map(value).collect())
            }
            Cells::Texts(values) => {
                Part::Texts(rows.iter().map(|row| values.get(*row).and_then(Option::as_deref)).collect())
            }
        });
        part.collect()
    }
}

/// The columns of chosen rows.
pub(super) fn columns<'a>(parts: &'a [Part<'_>]) -> Vec<Column<'a>> {
    let column = |part: &'a Part<'_>| match part {
        Part::Numbers(values) => Column::Numeric(values),
        Part::Texts(values) => Column::Categorical(values),
    };
    parts.iter().map(column).collect()
}
