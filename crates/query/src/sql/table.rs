//! A model's records as a table: the segments and the tail of one moment, read lazily, only the columns and the times
//! that a query needs.

use super::problem::external;
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use steersman_domain::{ModelName, Problem};
use steersman_records::{Arms, Part, Parts, RecordLog, Scan, Which};

/// Behind a model's name: its shadow answers.
const SHADOW: &str = "$shadow";

/// The tables of all models, made when a query names them.
#[derive(Debug)]
pub(super) struct Tables {
    log: RecordLog,
    as_of: Option<Timestamp>,
    /// Parts that were opened by queries.
    read: Arc<AtomicUsize>,
}

impl Tables {
    pub(super) fn new(log: RecordLog, as_of: Option<Timestamp>, read: Arc<AtomicUsize>) -> Self {
        Self { log, as_of, read }
    }

    /// The model and arms that a table's name means.
    fn find(&self, table: &str) -> Option<(ModelName, Arms)> {
        let (name, arms) = match table.strip_suffix(SHADOW) {
            Some(name) => (name, Arms::Shadow),
            None => (table, Arms::Served),
        };
        self.log.models().into_iter().find(|model| model.as_str() == name).map(|model| (model, arms))
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        let both = |model: &ModelName| [model.to_string(), format!("{model}{SHADOW}")];
        self.log.models().iter().flat_map(both).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some((model, arms)) = self.find(name) else { return Ok(None) };
        let scan = Scan { as_of: self.as_of, arms, ..Scan::default() };
        let view = Arc::new(self.log.parts(&model, &scan).map_err(external)?);
        Ok(Some(Arc::new(ModelTable { view, read: self.read.clone() })))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.find(name).map(|_| TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}

#[derive(Debug)]
struct ModelTable {
    view: Arc<Parts>,
    read: Arc<AtomicUsize>,
}

#[async_trait]
impl TableProvider for ModelTable {
    fn schema(&self) -> SchemaRef {
        self.view.fields().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Conditions on the time and the id choose parts and row groups; all conditions are looked at again row by row.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let chooses = |filter: &&Expr| match (bounds(filter), ids(filter)) {
            (None, None) => TableProviderFilterPushDown::Unsupported,
            _ => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(chooses).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.view.fields().fields().len()).collect();
        let columns = projection.cloned().unwrap_or(all);
        let schema = Arc::new(self.view.fields().project(&columns)?);
        let span = filters
            .iter()
            .filter_map(bounds)
            .fold((i64::MIN, i64::MAX), |span, other| (span.0.max(other.0), span.1.min(other.1)));
        let named = filters.iter().filter_map(ids).reduce(|one, other| &one & &other);
        let which = Which { span, ids: named.map(|ids| ids.into_iter().collect()) };
        let parts: Vec<Part> = self.view.touched(&which).map_err(external)?;
        // As many streams as there are threads: memory does not grow with the number of segments.
        let streams = state.config().target_partitions().clamp(1, parts.len().max(1));
        let stream = |parts: &[Part]| -> Arc<dyn PartitionStream> {
            Arc::new(PartStream {
                view: self.view.clone(),
                read: self.read.clone(),
                parts: parts.to_vec(),
                columns: columns.clone(),
                schema: schema.clone(),
                which: which.clone(),
            })
        };
        let mut partitions: Vec<_> = parts.chunks(parts.len().div_ceil(streams).max(1)).map(stream).collect();
        if partitions.is_empty() {
            partitions.push(stream(&[]));
        }
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?))
    }
}

/// Parts that are read one after the other.
#[derive(Debug)]
struct PartStream {
    view: Arc<Parts>,
    read: Arc<AtomicUsize>,
    parts: Vec<Part>,
    columns: Vec<usize>,
    schema: SchemaRef,
    which: Which,
}

impl PartitionStream for PartStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (view, read) = (self.view.clone(), self.read.clone());
        let (columns, which) = (self.columns.clone(), self.which.clone());
        let batches = self.parts.clone().into_iter().flat_map(move |part| {
            read.fetch_add(1, Ordering::Relaxed);
            let failed =
                |problem: Problem| -> steersman_records::Batches { Box::new(std::iter::once(Err(problem))) };
            view.read(&part, &columns, &which).unwrap_or_else(failed)
        });
        let batches = futures::stream::iter(batches.map(|batch| batch.map_err(external)));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}

/// The first and the last microsecond that a condition on `time` allows; none where it is about something else.
fn bounds(filter: &Expr) -> Option<(i64, i64)> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            match (bounds(left), bounds(right)) {
                (Some(one), Some(other)) => Some((one.0.max(other.0), one.1.min(other.1))),
                (one, other) => one.or(other),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, at) = match (is_time(left), is_time(right)) {
                (true, false) => (*op, moment(right)?),
                (false, true) => (op.swap()?, moment(left)?),
                _ => return None,
            };
            match op {
                Operator::Eq => Some((at, at)),
                Operator::Lt => Some((i64::MIN, at.saturating_sub(1))),
                Operator::LtEq => Some((i64::MIN, at)),
                Operator::Gt => Some((at.saturating_add(1), i64::MAX)),
                Operator::GtEq => Some((at, i64::MAX)),
                _ => None,
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) if is_time(expr) => {
            Some((moment(low)?, moment(high)?))
        }
        _ => None,
    }
}

/// The ids that a condition allows; none where it is about something else.
fn ids(filter: &Expr) -> Option<BTreeSet<String>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => match (ids(left), ids(right)) {
            (Some(one), Some(other)) => Some(&one & &other),
            (one, other) => one.or(other),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => Some(&ids(left)? | &ids(right)?),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (is_id(left), is_id(right)) {
            (true, false) => Some(BTreeSet::from([text(right)?])),
            (false, true) => Some(BTreeSet::from([text(left)?])),
            _ => None,
        },
        Expr::InList(InList { expr, list, negated: false }) if is_id(expr) => list.iter().map(text).collect(),
        _ => None,
    }
}

fn is_id(expression: &Expr) -> bool {
    matches!(expression, Expr::Column(column) if column.name == "id")
}

/// A text that is written in the query.
fn text(expression: &Expr) -> Option<String> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = expression else { return None };
    Some(text.clone())
}

fn is_time(expression: &Expr) -> bool {
    matches!(expression, Expr::Column(column) if column.name == "time")
}

/// A time that is written in the query, in microseconds.
fn moment(expression: &Expr) -> Option<i64> {
    let Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), Some(_)), _) = expression else {
        return None;
    };
    Some(*at)
}
