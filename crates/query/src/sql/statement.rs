//! What may be asked: one statement that reads.

use super::problem::parse_problem;
use datafusion::common::Result;
use datafusion::sql::parser::{DFParser, ExplainStatement, Statement as Parsed};
use datafusion::sql::sqlparser::ast::{Expr, Select, Statement as Ast, TableFactor, Visit as _, Visitor};
use std::ops::ControlFlow;
use steersman_domain::Problem;

/// The longest text of a query.
const LONGEST: usize = 16 << 10;
/// Expressions within each other, and SELECTs and tables of one query. Planning takes time that grows with their square and
/// cannot be interrupted.
const DEEPEST: usize = 200;
/// What `show tables` means.
const SHOW_TABLES: &str =
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";

/// Reads a query; `models` are named in hints.
pub(super) fn read(sql: &str, models: &[String]) -> Result<Parsed, Problem> {
    if sql.len() > LONGEST {
        let problem = Problem::invalid(format!("the query is longer than {LONGEST} bytes"));
        return Err(problem.hint("ask in parts"));
    }
    let mut statements = DFParser::parse_sql(sql).map_err(|error| parse_problem(&error, sql, models))?;
    let statement = match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => statement,
        (None, _) => {
            return Err(Problem::invalid("the query is empty").hint("SHOW TABLES lists what can be asked"));
        }
        (Some(_), more) => {
            let problem = Problem::invalid(format!("{} statements where one is expected", more + 1));
            return Err(problem.hint("send them one by one"));
        }
    };
    if matches!(&statement, Parsed::Statement(ast) if matches!(**ast, Ast::ShowTables { .. })) {
        return read(SHOW_TABLES, models);
    }
    match refused(&statement) {
        None if Nested::too_much(&statement) => {
            let message =
                format!("more than {DEEPEST} conditions, terms, SELECTs or tables within one query");
            Err(Problem::invalid(message).hint("write a OR a OR ... as IN (...), or ask in parts"))
        }
        None => Ok(statement),
        Some(word) => Err(Problem::invalid(format!("`{word}` is not allowed: queries only read"))
            .hint("SELECT, WITH, EXPLAIN, SHOW TABLES and DESCRIBE are")),
    }
}

/// The word that makes a statement more than a question; none where it only reads.
fn refused(statement: &Parsed) -> Option<String> {
    match statement {
        Parsed::Statement(ast) => match ast.as_ref() {
            Ast::Query(_) | Ast::ShowColumns { .. } | Ast::ExplainTable { .. } => None,
            Ast::Explain { statement, .. } => match statement.as_ref() {
                Ast::Query(_) => None,
                other => Some(first_word(&other.to_string())),
            },
            other => Some(first_word(&other.to_string())),
        },
        Parsed::Explain(ExplainStatement { statement, .. }) => refused(statement),
        Parsed::CreateExternalTable(_) => Some("CREATE".to_owned()),
        Parsed::CopyTo(_) => Some("COPY".to_owned()),
        Parsed::Reset(_) => Some("RESET".to_owned()),
    }
}

/// How deep expressions are nested, and how much there is to plan.
#[derive(Default)]
struct Nested {
    depth: usize,
    parts: usize,
}

impl Nested {
    fn too_much(statement: &Parsed) -> bool {
        match statement {
            Parsed::Statement(ast) => ast.visit(&mut Self::default()).is_break(),
            Parsed::Explain(ExplainStatement { statement, .. }) => Self::too_much(statement),
            _ => false,
        }
    }

    fn within(&self) -> ControlFlow<()> {
        if self.depth.max(self.parts) > DEEPEST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Visitor for Nested {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.depth += 1;
        self.within()
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.parts += 1;
        self.within()
    }

    fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.parts += 1;
        self.within()
    }
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_uppercase()
}
