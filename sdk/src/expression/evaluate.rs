//! Whether an expression holds for a row.
//!
//! A field that the row lacks is like `null`. Values of different kinds are never equal, and neither is less than the
//! other: such a comparison does not hold, and no row is rejected for it.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::tree::{Comparison, Expression, Literal, Node, Operand, TextTest};
use crate::error::{Error, Result};
use crate::fields::Scalar;

/// What an expression can see of a row.
#[derive(Debug)]
pub struct Row<'a> {
    key: Option<&'a [u8]>,
    timestamp: i64,
    fields: Vec<Option<&'a str>>,
}

/// A value of a row or of the expression.
#[derive(Debug, PartialEq)]
enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// An object or a list: like nothing else.
    Compound,
}

impl<'a> Row<'a> {
    pub(super) fn new(key: Option<&'a [u8]>, timestamp: i64, fields: Vec<Option<&'a str>>) -> Self {
        Self { key, timestamp, fields }
    }

    /// Whether the expression holds for the row. It has to be one of those whose fields were read.
    ///
    /// # Errors
    /// `invalid-utf8`: a key that is looked at and is no text. `invalid-json`: a text with an escape that stands for nothing.
    pub fn fulfils(&self, expression: &Expression) -> Result<bool> {
        self.holds(&expression.0)
    }

    /// The JSON text of the field at a place, as [`Names::field`](super::Names::field) gave it; none if the row lacks it.
    pub fn field(&self, place: usize) -> Option<&'a str> {
        self.fields.get(place).copied().flatten()
    }

    fn holds(&self, node: &Node) -> Result<bool> {
        Ok(match node {
            Node::And(parts) => {
                for part in parts {
                    if !self.holds(part)? {
                        return Ok(false);
                    }
                }
                true
            }
            Node::Or(parts) => {
                for part in parts {
                    if self.holds(part)? {
                        return Ok(true);
                    }
                }
                false
            }
            Node::Not(inner) => !self.holds(inner)?,
            Node::Is(operand) => self.value(operand)? == Value::Bool(true),
            Node::Compare(left, comparison, right) => comparison.holds(&self.value(left)?, &self.value(right)?),
            Node::In(operand, literals) => {
                let value = self.value(operand)?;
                literals.iter().any(|literal| value.equals(&literal.value()))
            }
            Node::Text(test, text, part) => match (self.value(text)?, self.value(part)?) {
                (Value::Text(text), Value::Text(part)) => test.holds(&text, &part),
                _ => false,
            },
            Node::Exists(operand) => match operand {
                Operand::Field(place) => self.field(*place).is_some(),
                Operand::Key => self.key.is_some(),
                Operand::Timestamp | Operand::Literal(_) => true,
            },
        })
    }

    fn value<'v>(&'v self, operand: &'v Operand) -> Result<Value<'v>> {
        Ok(match operand {
            Operand::Literal(literal) => literal.value(),
            Operand::Timestamp => Value::Integer(self.timestamp),
            Operand::Key => match self.key.map(std::str::from_utf8) {
                None => Value::Null,
                Some(Ok(key)) => Value::Text(key.into()),
                Some(Err(_)) => return Err(Error::new("invalid-utf8", "the key is not UTF-8 text")),
            },
            Operand::Field(place) => match self.field(*place).map(Scalar::read).transpose()? {
                None | Some(Scalar::Null) => Value::Null,
                Some(Scalar::Bool(flag)) => Value::Bool(flag),
                Some(Scalar::Number(number)) => Value::number(number),
                Some(Scalar::Text(text)) => Value::Text(text),
                Some(Scalar::Compound) => Value::Compound,
            },
        })
    }
}

impl Literal {
    fn value(&self) -> Value<'_> {
        match self {
            Literal::Null => Value::Null,
            Literal::Bool(flag) => Value::Bool(*flag),
            Literal::Integer(number) => Value::Integer(*number),
            Literal::Float(number) => Value::Float(*number),
            Literal::Text(text) => Value::Text(text.into()),
        }
    }
}

impl Value<'_> {
    /// A JSON number: whole ones are exact, the others as near as 64 bits come.
    fn number(json: &str) -> Self {
        json.parse().map(Value::Integer).unwrap_or_else(|_| Value::Float(json.parse().unwrap_or(f64::NAN)))
    }

    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// How two values of one kind compare.
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Value::Integer(left), Value::Integer(right)) => Some(left.cmp(right)),
            (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
            (Value::Integer(left), Value::Float(right)) => (*left as f64).partial_cmp(right),
            (Value::Float(left), Value::Integer(right)) => left.partial_cmp(&(*right as f64)),
            (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
            (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value<'_>, right: &Value<'_>) -> bool {
        match self {
            Comparison::Equal => left.equals(right),
            Comparison::NotEqual => !left.equals(right),
            Comparison::Less => left.compare(right) == Some(Ordering::Less),
            Comparison::Greater => left.compare(right) == Some(Ordering::Greater),
            Comparison::LessOrEqual => matches!(left.compare(right), Some(Ordering::Less | Ordering::Equal)),
            Comparison::GreaterOrEqual => matches!(left.compare(right), Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

impl TextTest {
    fn holds(self, text: &str, part: &str) -> bool {
        match self {
            TextTest::Contains => text.contains(part),
            TextTest::StartsWith => text.starts_with(part),
            TextTest::EndsWith => text.ends_with(part),
        }
    }
}
