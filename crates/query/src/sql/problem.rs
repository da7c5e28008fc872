//! What an error of DataFusion means for the one who asked: where, why, and which names there are.

use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use steersman_domain::{ErrorKind, Problem};

/// Names that are listed in a hint.
const LISTED: usize = 40;

/// What is said of a query that needs too much memory.
pub(super) const OUT_OF_MEMORY: &str = "the query needs more memory than a query may have";

/// A problem on its way through DataFusion.
pub(super) fn external(problem: Problem) -> DataFusionError {
    DataFusionError::External(Box::new(problem))
}

/// What an error means.
pub(super) fn problem(error: DataFusionError) -> Problem {
    match error {
        DataFusionError::External(source) => match source.downcast::<Problem>() {
            Ok(problem) => *problem,
            Err(source) => match source.downcast::<DataFusionError>() {
                Ok(inner) => problem(*inner),
                Err(source) => Problem::internal(source.to_string()),
            },
        },
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let found = problem(*inner);
            match (&found.field, diagnostic.span) {
                (None, Some(span)) => {
                    found.field(format!("line {}, column {}", span.start.line, span.start.column))
                }
                _ => found,
            }
        }
        DataFusionError::Context(_, inner) => problem(*inner),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => problem(first),
            None => Problem::internal("a query failed without a reason"),
        },
        DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
            Ok(inner) => problem(inner),
            Err(shared) => of_root(shared.find_root()),
        },
        DataFusionError::ArrowError(source, about) => match *source {
            datafusion::arrow::error::ArrowError::ExternalError(source) => {
                problem(DataFusionError::External(source))
            }
            source => Problem::invalid(first_line(
                &DataFusionError::ArrowError(Box::new(source), about).strip_backtrace(),
            )),
        },
        other => of_root(&other),
    }
}

fn of_root(error: &DataFusionError) -> Problem {
    match error {
        DataFusionError::External(source) if source.is::<Problem>() => {
            source.downcast_ref::<Problem>().cloned().unwrap_or_else(|| Problem::internal(source.to_string()))
        }
        DataFusionError::SchemaError(source, _) => schema_problem(source),
        DataFusionError::ResourcesExhausted(_) => Problem::new(ErrorKind::TooLarge, OUT_OF_MEMORY)
            .hint("ask for less: WHERE on `time`, fewer columns, LIMIT, coarser groups"),
        DataFusionError::Internal(message) => Problem::internal(first_line(message)),
        DataFusionError::NotImplemented(message)
        | DataFusionError::Plan(message)
        | DataFusionError::Configuration(message)
        | DataFusionError::Execution(message) => Problem::invalid(first_line(message)),
        other => Problem::invalid(first_line(&other.strip_backtrace())),
    }
}

/// The first line, without the words that only say through which hands an error went.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.rsplit_once("coercion failed with: ").map_or(line, |(_, reason)| reason);
    let mut line = line.split(" No function matches").next().unwrap_or(line);
    let hands =
        ["Error during planning: ", "Execution error: ", "Arrow error: ", "Cast error: ", "Parser error: "];
    while let Some(rest) = hands.iter().find_map(|hand| line.strip_prefix(hand)) {
        line = rest;
    }
    line.trim_end_matches('.').to_owned()
}

fn schema_problem(error: &SchemaError) -> Problem {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<&str> = valid_fields.iter().map(|field| field.name.as_str()).collect();
            Problem::invalid(format!("there is no column `{}`", shown(field)))
                .field(field.name.clone())
                .hint(known("columns", &field.name, &names, "; a text goes in single quotes"))
        }
        SchemaError::AmbiguousReference { field } => {
            Problem::invalid(format!("several tables have a column `{}`", field.name))
                .field(field.name.clone())
                .hint(format!("put a table's name before it, such as t.{}", field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => twice(name),
    }
}

/// Two columns of one name cannot be told apart in an answer.
pub(super) fn twice(name: &str) -> Problem {
    Problem::invalid(format!("two columns of the answer are called `{name}`"))
        .field(name)
        .hint(format!("give one another name, such as {name} AS other"))
}

fn shown(column: &Column) -> String {
    match &column.relation {
        Some(relation) => format!("{}.{}", relation.table(), column.name),
        None => column.name.clone(),
    }
}

/// There is no table of this name.
pub(super) fn no_table(name: &str, tables: &[String]) -> Problem {
    let names: Vec<&str> = tables.iter().map(String::as_str).filter(|name| !name.contains('$')).collect();
    let otherwise = if names.is_empty() { "; no model has records here yet" } else { "" };
    Problem::not_found(format!("there is no table `{name}`"))
        .field(name)
        .hint(known("tables", name, &names, otherwise))
}

/// A hint with the name that was probably meant, or all there are.
fn known(what: &str, wanted: &str, names: &[&str], otherwise: &str) -> String {
    let wanted = wanted.to_lowercase();
    let near = names.iter().map(|name| (levenshtein(&wanted, &name.to_lowercase()), name)).min();
    let listed = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > LISTED { ", ..." } else { "" };
    match near {
        Some((distance, name)) if distance <= 1 + name.len() / 4 => format!("did you mean `{name}`?"),
        _ => format!("the {what} are {listed}{more}{otherwise}"),
    }
}

/// What is wrong with the text of a query, and where.
pub(super) fn parse_problem(error: &DataFusionError, sql: &str, models: &[String]) -> Problem {
    let text = match error.find_root() {
        DataFusionError::SQL(error, _) => error.to_string(),
        other => other.strip_backtrace(),
    };
    let text = text.trim_start_matches("sql parser error: ");
    let (message, place) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => (
            message,
            Some(format!("line {}", place.replace(", Column: ", ", column ").trim_end_matches('.'))),
        ),
        None => (text, None),
    };
    let mut found = Problem::invalid(first_line(message));
    if let Some(place) = place {
        found = found.field(place);
    }
    let bare = |model: &&String| {
        let quoted = format!("\"{model}\"");
        model.contains(['-', '.']) && sql.replace(&quoted, "").contains(model.as_str())
    };
    match models.iter().filter(|model| !model.contains('$')).find(bare) {
        Some(model) => found.hint(format!("put the name in double quotes: \"{model}\"")),
        None => found,
    }
}
