//! The tree that an expression becomes.

/// A condition that holds for a row, or does not.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression(pub(super) Node);

/// A part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// A value that is true by itself: `active`, `true`.
    Is(Operand),
    Compare(Operand, Comparison, Operand),
    In(Operand, Vec<Literal>),
    Text(TextTest, Operand, Operand),
    /// Whether the row has the field, be it `null`.
    Exists(Operand),
}

/// Something that has a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Literal(Literal),
    /// A field of the JSON value: its place among those that the expression needs.
    Field(usize),
    Key,
    Timestamp,
}

/// A value in the expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
}
