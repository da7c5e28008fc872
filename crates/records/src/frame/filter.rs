//! Conditions on rows, in SQL: `origin = 'JFK' and (distance > 500 or carrier in ('AA', 'UA'))`.
//!
//! Comparisons, `in`, `between`, `like`, `is null`, `and`, `or`, `not`. As in SQL, a comparison with a missing value is
//! neither true nor false, and such rows are not kept.

use super::{Frame, FrameColumn};
use arrow::array::{Array, AsArray as _, BooleanArray};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator, Value};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::cmp::Ordering;
use steersman_domain::Problem;
use steersman_domain::schema::DataKind;
use steersman_domain::time::{micros, parse_time};

const HINT: &str = "for example: origin = 'JFK' and distance > 500";

/// A condition that was understood.
pub(super) struct Condition {
    text: String,
    root: Node,
}

enum Node {
    Compare(Term, Test, Term),
    In(Term, Vec<Term>),
    Between(Term, Term, Term),
    Like(Term, String),
    IsNull(Term),
    IsTrue(Term),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
}

#[derive(Clone, Copy)]
enum Test {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

enum Term {
    Column(String),
    Number(f64),
    Text(String),
    Flag(bool),
}

impl Condition {
    /// Reads a condition.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |what: String| Problem::invalid(what).field(format!("condition `{text}`")).hint(HINT);
        let dialect = GenericDialect {};
        let mut parser =
            Parser::new(&dialect).try_with_sql(text).map_err(|error| wrong(error.to_string()))?;
        let parsed = parser.parse_expr().map_err(|error| wrong(error.to_string()))?;
        if parser.peek_token_ref().token != Token::EOF {
            return Err(wrong(format!("`{}` is not expected here", parser.peek_token_ref())));
        }
        let root = node(parsed).map_err(wrong)?;
        Ok(Self { text: text.to_owned(), root })
    }

    /// The columns it needs.
    pub(super) fn columns(&self) -> impl Iterator<Item = String> {
        let mut names = Vec::new();
        self.root.columns(&mut names);
        names.into_iter()
    }

    /// Which rows it holds for.
    pub(super) fn mask(&self, frame: &Frame) -> Result<BooleanArray, Problem> {
        for name in self.columns() {
            frame.require(&name).map_err(|problem| problem.field(format!("condition `{}`", self.text)))?;
        }
        self.root
            .check(frame)
            .map_err(|what| Problem::invalid(what).field(format!("condition `{}`", self.text)).hint(HINT))?;
        Ok((0..frame.rows).map(|row| Some(self.root.holds(frame, row) == Some(true))).collect())
    }
}

fn node(expression: Expr) -> Result<Node, String> {
    let not = |negated: bool, node: Node| if negated { Node::Not(Box::new(node)) } else { node };
    Ok(match expression {
        Expr::Nested(inner) => node(*inner)?,
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Node::Not(Box::new(node(*expr)?)),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            Node::And(Box::new(node(*left)?), Box::new(node(*right)?))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            Node::Or(Box::new(node(*left)?), Box::new(node(*right)?))
        }
        Expr::BinaryOp { left, op, right } => {
            let test = match op {
                BinaryOperator::Eq => Test::Equal,
                BinaryOperator::NotEq => Test::Different,
                BinaryOperator::Lt => Test::Less,
                BinaryOperator::LtEq => Test::LessOrEqual,
                BinaryOperator::Gt => Test::Greater,
                BinaryOperator::GtEq => Test::GreaterOrEqual,
                other => return Err(format!("`{other}` is not known in a condition")),
            };
            Node::Compare(term(*left)?, test, term(*right)?)
        }
        Expr::IsNull(inner) => Node::IsNull(term(*inner)?),
        Expr::IsNotNull(inner) => not(true, Node::IsNull(term(*inner)?)),
        Expr::IsTrue(inner) => Node::IsTrue(term(*inner)?),
        Expr::IsFalse(inner) => Node::Compare(term(*inner)?, Test::Equal, Term::Flag(false)),
        Expr::InList { expr, list, negated } => {
            let list = list.into_iter().map(term).collect::<Result<_, _>>()?;
            not(negated, Node::In(term(*expr)?, list))
        }
        Expr::Between { expr, negated, low, high } => {
            not(negated, Node::Between(term(*expr)?, term(*low)?, term(*high)?))
        }
        Expr::Like { negated, expr, pattern, .. } => match term(*pattern)? {
            Term::Text(pattern) => not(negated, Node::Like(term(*expr)?, pattern)),
            _ => return Err("`like` needs a text such as 'A%'".to_owned()),
        },
        other => Node::IsTrue(term(other)?),
    })
}

fn term(expression: Expr) -> Result<Term, String> {
    let dotted = |parts: &[Ident]| parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
    match expression {
        Expr::Nested(inner) => term(*inner),
        Expr::Identifier(name) => Ok(Term::Column(name.value)),
        Expr::CompoundIdentifier(parts) => Ok(Term::Column(dotted(&parts))),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match term(*expr)? {
            Term::Number(number) => Ok(Term::Number(-number)),
            _ => Err("`-` is known before numbers only".to_owned()),
        },
        Expr::Value(value) => match value.value {
            Value::Number(digits, _) => {
                digits.parse().map(Term::Number).map_err(|_| format!("`{digits}` is not a number"))
            }
            Value::SingleQuotedString(text) => Ok(Term::Text(text)),
            Value::Boolean(flag) => Ok(Term::Flag(flag)),
            other => Err(format!("`{other}` is not known in a condition")),
        },
        other => Err(format!("`{other}` is not known in a condition")),
    }
}

/// The value of a term in a row.
enum Cell<'a> {
    Missing,
    Number(f64),
    Text(&'a str),
    Time(i64),
}

impl Cell<'_> {
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Text(b)) => Some(a.cmp(&parse_time(b).map(micros).ok()?)),
            (Self::Text(a), Self::Time(b)) => Some(parse_time(a).map(micros).ok()?.cmp(b)),
            _ => None,
        }
    }
}

fn cell(column: &FrameColumn, row: usize) -> Cell<'_> {
    if column.values.is_null(row) {
        return Cell::Missing;
    }
    match column.kind {
        DataKind::Numeric => Cell::Number(column.values.as_primitive::<Float64Type>().value(row)),
        DataKind::Boolean => Cell::Number(f64::from(u8::from(column.values.as_boolean().value(row)))),
        DataKind::Datetime => Cell::Time(column.values.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataKind::Categorical | DataKind::Text => Cell::Text(column.values.as_string::<i32>().value(row)),
    }
}

impl Term {
    fn cell<'a>(&'a self, frame: &'a Frame, row: usize) -> Cell<'a> {
        match self {
            Self::Column(name) => frame.column(name).map_or(Cell::Missing, |column| cell(column, row)),
            Self::Number(number) => Cell::Number(*number),
            Self::Text(text) => Cell::Text(text),
            Self::Flag(flag) => Cell::Number(f64::from(u8::from(*flag))),
        }
    }

    /// What the term holds, for [`Node::check`].
    fn kind(&self, frame: &Frame) -> Option<(&'static str, String)> {
        let words = |kind: DataKind| match kind {
            DataKind::Numeric | DataKind::Boolean => "number",
            DataKind::Datetime => "time",
            DataKind::Categorical | DataKind::Text => "text",
        };
        match self {
            Self::Column(name) => Some((words(frame.column(name)?.kind), format!("`{name}`"))),
            Self::Number(number) => Some(("number", number.to_string())),
            Self::Flag(flag) => Some(("number", flag.to_string())),
            Self::Text(text) if parse_time(text).is_ok() => Some(("time or text", format!("'{text}'"))),
            Self::Text(text) => Some(("text", format!("'{text}'"))),
        }
    }
}

impl Node {
    fn columns(&self, names: &mut Vec<String>) {
        let mut add = |term: &Term| {
            if let Term::Column(name) = term
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        };
        match self {
            Self::Compare(left, _, right) => [left, right].into_iter().for_each(add),
            Self::In(term, list) => std::iter::once(term).chain(list).for_each(add),
            Self::Between(term, low, high) => [term, low, high].into_iter().for_each(add),
            Self::Like(term, _) | Self::IsNull(term) | Self::IsTrue(term) => add(term),
            Self::And(left, right) | Self::Or(left, right) => {
                left.columns(names);
                right.columns(names);
            }
            Self::Not(inner) => inner.columns(names),
        }
    }

    /// Text compared with numbers would silently keep no row.
    fn check(&self, frame: &Frame) -> Result<(), String> {
        let comparable = |left: &Term, right: &Term| match (left.kind(frame), right.kind(frame)) {
            (Some((a, left)), Some((b, right))) if !a.contains(b) && !b.contains(a) => {
                Err(format!("{left} ({a}) cannot be compared with {right} ({b})"))
            }
            _ => Ok(()),
        };
        match self {
            Self::Compare(left, _, right) => comparable(left, right),
            Self::In(term, list) => list.iter().try_for_each(|other| comparable(term, other)),
            Self::Between(term, low, high) => comparable(term, low).and_then(|()| comparable(term, high)),
            Self::Like(..) | Self::IsNull(_) | Self::IsTrue(_) => Ok(()),
            Self::And(left, right) | Self::Or(left, right) => {
                left.check(frame).and_then(|()| right.check(frame))
            }
            Self::Not(inner) => inner.check(frame),
        }
    }

    fn holds(&self, frame: &Frame, row: usize) -> Option<bool> {
        match self {
            Self::Compare(left, test, right) => {
                let order = left.cell(frame, row).order(&right.cell(frame, row))?;
                Some(match test {
                    Test::Equal => order.is_eq(),
                    Test::Different => order.is_ne(),
                    Test::Less => order.is_lt(),
                    Test::LessOrEqual => order.is_le(),
                    Test::Greater => order.is_gt(),
                    Test::GreaterOrEqual => order.is_ge(),
                })
            }
            Self::In(term, list) => {
                let value = term.cell(frame, row);
                if matches!(value, Cell::Missing) {
                    return None;
                }
                Some(list.iter().any(|other| value.order(&other.cell(frame, row)) == Some(Ordering::Equal)))
            }
            Self::Between(term, low, high) => {
                let value = term.cell(frame, row);
                let above = value.order(&low.cell(frame, row))?.is_ge();
                Some(above && value.order(&high.cell(frame, row))?.is_le())
            }
            Self::Like(term, pattern) => match term.cell(frame, row) {
                Cell::Text(text) => Some(like(text.as_bytes(), pattern.as_bytes())),
                _ => None,
            },
            Self::IsNull(term) => Some(matches!(term.cell(frame, row), Cell::Missing)),
            Self::IsTrue(term) => match term.cell(frame, row) {
                Cell::Number(number) => Some(number != 0.0),
                _ => None,
            },
            Self::And(left, right) => match (left.holds(frame, row), right.holds(frame, row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.holds(frame, row), right.holds(frame, row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(inner) => inner.holds(frame, row).map(|holds| !holds),
        }
    }
}

/// SQL's `like`: `%` for any text, `_` for any one byte. Linear in the text for each `%`.
fn like(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some(b'%') => {
                back = Some((in_pattern + 1, at));
                in_pattern += 1;
            }
            Some(&wanted) if wanted == b'_' || wanted == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    at = from + 1;
                    in_pattern = after;
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (text, pattern, fits) in [
            ("JFK", "J%", true),
            ("JFK", "_F_", true),
            ("JFK", "J", false),
            ("abcabd", "%abd", true),
            ("", "%", true),
        ] {
            assert_eq!(like(text.as_bytes(), pattern.as_bytes()), fits, "{text} {pattern}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let refusal = |text: &str| Condition::parse(text).err().map(|problem| problem.to_string()).unwrap();
        assert!(refusal("a =").contains("condition `a =`"));
        assert!(refusal("a + 1 > 2").contains("`a + 1` is not known"), "{}", refusal("a + 1 > 2"));
        assert!(refusal("a > 1 b").contains("`b` is not expected here"));
    }
}
