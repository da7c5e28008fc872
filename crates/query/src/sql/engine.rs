//! Answers queries on threads of its own, within limits of memory, time and rows.

use super::answer::Answer;
use super::load::{Counters, LIMIT, Load, TOO_SLOW};
use super::problem::{no_table, problem, twice};
use super::statement;
use super::table::Tables;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::{CatalogProvider as _, MemoryCatalogProvider, SchemaProvider as _};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt as _;
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use steersman_domain::{ErrorKind, Problem};
use steersman_records::RecordLog;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

const CATALOG: &str = "steersman";
const SCHEMA: &str = "public";
/// Plans are walked recursively: a long chain of conditions needs a deep stack, of which only what is used takes memory.
const STACK: usize = 256 << 20;

/// With so many rows every row of another table may be compared.
const FEW: usize = 1_000;
/// What is waited beyond the time limit for a query to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// What queries may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Rows of an answer, where the query asks for no other number.
    pub rows: usize,
    /// The most rows that can be asked for.
    pub most_rows: usize,
    /// Bytes of an answer.
    pub answer_bytes: usize,
    /// Bytes that all running queries may hold together for sorting, grouping and joining.
    pub memory: usize,
    /// How long a query may run.
    pub time: Duration,
    /// Threads.
    pub threads: usize,
    /// Queries at once.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 10_000,
            most_rows: 1_000_000,
            answer_bytes: 256 << 20,
            memory: 512 << 20,
            time: Duration::from_secs(60),
            threads: 2,
            at_once: 4,
        }
    }
}

/// A question.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// One statement.
    pub sql: String,
    /// The most rows that are wanted.
    pub limit: Option<usize>,
    /// What was known at this time: records and labels that were taken in later are not there.
    pub as_of: Option<Timestamp>,
    /// The time at which it is asked, which `now()` says.
    pub now: Timestamp,
}

/// The right to run one query.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held until the query has ended")] OwnedSemaphorePermit);

/// Answers queries over a record log.
#[derive(Debug)]
pub struct Engine {
    log: RecordLog,
    limits: Limits,
    /// There until the engine is dropped.
    runtime: Option<Runtime>,
    memory: Arc<RuntimeEnv>,
    slots: Arc<Semaphore>,
    read: Arc<AtomicUsize>,
    counters: Counters,
}

impl Engine {
    /// Starts the threads.
    pub fn new(log: RecordLog, limits: Limits) -> Result<Self, Problem> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(limits.threads)
            .thread_name("query")
            .thread_stack_size(STACK)
            .enable_time()
            .build()
            .map_err(|error| Problem::internal(format!("no threads for queries: {error}")))?;
        // Nothing is written to disk: what does not fit into memory is refused.
        let memory = RuntimeEnvBuilder::new()
            .with_memory_limit(limits.memory, 1.0)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(problem)?;
        let slots = Arc::new(Semaphore::new(limits.at_once));
        Ok(Self {
            log,
            limits,
            runtime: Some(runtime),
            memory,
            slots,
            read: Arc::default(),
            counters: Counters::default(),
        })
    }

    /// The right to run a query; none while as many as may run are running.
    pub fn slot(&self) -> Option<Slot> {
        let slot = self.slots.clone().try_acquire_owned().ok().map(Slot);
        if slot.is_none() {
            self.counters.note_busy();
        }
        slot
    }

    /// What queries may take.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many queries run, and how many met a limit.
    pub fn load(&self) -> Load {
        self.counters.load(self.slots.available_permits(), self.limits.at_once)
    }

    /// How many segments and tails all queries have read so far.
    pub fn parts_read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    /// Answers a query; `finish` makes of the answer what is wanted, on the same threads. A query ends when the future is
    /// dropped.
    pub async fn run<T: Send + 'static>(
        &self,
        slot: Slot,
        query: Query,
        finish: impl FnOnce(Answer) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let result = self.answered(slot, query, finish).await;
        self.counters.note(&result);
        result
    }

    async fn answered<T: Send + 'static>(
        &self,
        slot: Slot,
        query: Query,
        finish: impl FnOnce(Answer) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let Some(runtime) = &self.runtime else { return Err(Problem::internal("no threads for queries")) };
        let (limits, memory) = (self.limits.clone(), self.memory.clone());
        let tables = Arc::new(Tables::new(self.log.clone(), query.as_of, self.read.clone()));
        let work = runtime.spawn(async move {
            let _slot = slot;
            let answer = tokio::time::timeout(limits.time, answer(&query, tables, memory, &limits)).await;
            finish(answer.map_err(|_| too_slow(limits.time))??)
        });
        let mut work = EndOnDrop(work);
        // Planning cannot be interrupted from inside: who waits does not wait for it either.
        match tokio::time::timeout(self.limits.time + GRACE, &mut work.0).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(Problem::internal(format!("a query ended early: {error}"))),
            Err(_) => Err(too_slow(self.limits.time)),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Threads cannot be waited for where an async task drops the engine.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct EndOnDrop<T>(JoinHandle<T>);

impl<T> Drop for EndOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn too_slow(limit: Duration) -> Problem {
    Problem::new(ErrorKind::TooLarge, format!("{TOO_SLOW} {} s", limit.as_secs()))
        .hint("ask for less: WHERE on `time`, fewer columns, LIMIT")
}

fn session(
    tables: Arc<Tables>,
    memory: Arc<RuntimeEnv>,
    limits: &Limits,
    now: Timestamp,
) -> Result<SessionContext, Problem> {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(true)
        .with_target_partitions(limits.threads);
    // Columns keep the case that the data have; errors say where they are.
    config.options_mut().sql_parser.enable_ident_normalization = false;
    config.options_mut().sql_parser.collect_spans = true;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config_rt(config, memory);
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, tables).map_err(problem)?;
    context.register_catalog(CATALOG, Arc::new(catalog));
    super::functions::register(&context, now);
    Ok(context)
}

async fn answer(
    query: &Query,
    tables: Arc<Tables>,
    memory: Arc<RuntimeEnv>,
    limits: &Limits,
) -> Result<Answer, Problem> {
    let wanted = query.limit.unwrap_or(limits.rows);
    if wanted > limits.most_rows {
        let message = format!("{wanted} rows are more than the {} that an answer may have", limits.most_rows);
        return Err(Problem::invalid(message).field(LIMIT));
    }
    let names = tables.table_names();
    let statement = statement::read(&query.sql, &names)?;
    let context = session(tables, memory, limits, query.now)?;
    let plan = plan(&context, statement, &names).await?;
    let told =
        matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_));
    let mut frame = context.execute_logical_plan(plan).await.map_err(problem)?;
    if !told {
        // One more than wanted, to know whether there are more.
        frame = frame.limit(0, Some(wanted + 1)).map_err(problem)?;
    }
    let optimised = context.state().optimize(frame.logical_plan()).map_err(problem)?;
    if optimised.exists(|node| Ok(compares_all(node))).map_err(problem)? {
        let message = "a join without an equality compares every row with every row";
        return Err(Problem::invalid(message)
            .hint("add one, such as a.id = b.id, or LIMIT one side to at most 1000 rows in a subquery"));
    }
    let plan = interruptible(frame.create_physical_plan().await.map_err(problem)?)?;
    let mut stream = execute_stream(plan, context.task_ctx()).map_err(problem)?;
    let schema = stream.schema();
    told_apart(&schema)?;
    let (mut batches, mut rows, mut bytes, mut truncated) = (Vec::new(), 0, 0, false);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(problem)?;
        let kept: RecordBatch = batch.slice(0, batch.num_rows().min(wanted - rows));
        truncated = kept.num_rows() < batch.num_rows();
        rows += kept.num_rows();
        bytes += kept.get_array_memory_size().min(size(&kept));
        if bytes > limits.answer_bytes {
            let message = format!("the answer is larger than {} MB", limits.answer_bytes >> 20);
            return Err(Problem::new(ErrorKind::TooLarge, message).hint("ask for fewer columns or rows"));
        }
        batches.push(kept);
        if truncated {
            break;
        }
    }
    Ok(Answer { schema, batches, rows, truncated })
}

/// Joins may make very much of one batch: each of theirs is a moment at which the query can be ended.
fn interruptible(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, Problem> {
    let wrapped = plan.transform_up(|node| {
        Ok(match node.name().ends_with("JoinExec") {
            true => Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>),
            false => Transformed::no(node),
        })
    });
    Ok(wrapped.map_err(problem)?.data)
}

/// Whether a step compares every row with every row: it could not be interrupted.
fn compares_all(node: &LogicalPlan) -> bool {
    let few = |side: &LogicalPlan| side.max_rows().is_some_and(|rows| rows <= FEW);
    match node {
        LogicalPlan::Join(join) => {
            join.on.is_empty() && join.filter.is_some() && !few(&join.left) && !few(&join.right)
        }
        _ => false,
    }
}

/// Bytes of what a slice shows, whatever it is a slice of.
fn size(batch: &RecordBatch) -> usize {
    let shown = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    shown.map(|size| size.unwrap_or(0)).sum()
}

async fn plan(
    context: &SessionContext,
    statement: Statement,
    names: &[String],
) -> Result<LogicalPlan, Problem> {
    let state = context.state();
    for table in state.resolve_table_references(&statement).map_err(problem)? {
        let inside = table.schema().is_none_or(|schema| schema == SCHEMA);
        let function = state.table_functions().contains_key(table.table());
        if inside && !function && !names.iter().any(|name| name == table.table()) {
            return Err(no_table(table.table(), names));
        }
    }
    let plan = state.statement_to_plan(statement).await.map_err(problem)?;
    // What the words of the statement did not give away.
    let only_read =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    only_read.verify_plan(&plan).map_err(problem)?;
    Ok(plan)
}

fn told_apart(schema: &Schema) -> Result<(), Problem> {
    let mut known = HashSet::new();
    match schema.fields().iter().find(|field| !known.insert(field.name())) {
        Some(field) => Err(twice(field.name())),
        None => Ok(()),
    }
}
