//! From tokens to the tree: `or` binds weakest, then `and`, `not`, and comparisons.

use super::lexer::{Placed, Result, Token, error, tokens};
use super::names::Names;
use super::tree::{Expression, Literal, Node, Operand, TextTest};

/// How deep parentheses and `not` may nest: evaluation recurses, and the guest's stack is small.
const DEPTH_MAX: usize = 64;

/// Reads an expression and notes the fields that it needs.
pub(super) fn parse(text: &str, names: &mut Names) -> Result<Expression> {
    let mut parser = Parser { tokens: tokens(text)?, place: 0, depth: 0, names };
    let node = parser.any()?;
    parser.expect(&Token::End, "`and`, `or` or the end")?;
    Ok(Expression(node))
}

struct Parser<'n> {
    /// The last one is [`Token::End`], which is never gone past.
    tokens: Vec<Placed>,
    place: usize,
    depth: usize,
    names: &'n mut Names,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.place).map_or(&Token::End, |placed| &placed.token)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.place).map_or(0, |placed| placed.column)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.place = (self.place + 1).min(self.tokens.len() - 1);
        token
    }

    fn take(&mut self, token: &Token) -> bool {
        let comes = self.peek() == token;
        if comes {
            self.next();
        }
        comes
    }

    fn take_word(&mut self, word: &str) -> bool {
        let comes = matches!(self.peek(), Token::Word(next) if next == word);
        if comes {
            self.next();
        }
        comes
    }

    fn expect(&mut self, token: &Token, what: &str) -> Result<()> {
        if self.take(token) { Ok(()) } else { self.unexpected(what) }
    }

    fn unexpected<T>(&self, what: &str) -> Result<T> {
        let found = match self.peek() {
            Token::End => "the end".to_owned(),
            Token::Word(word) => format!("`{}`", word.trim_start_matches('`')),
            Token::Text(text) => format!("the text {text:?}"),
            Token::Integer(number) => format!("the number {number}"),
            Token::Float(number) => format!("the number {number}"),
            Token::Comparison(_) => "a comparison".to_owned(),
            Token::Open => "`(`".to_owned(),
            Token::Close => "`)`".to_owned(),
            Token::OpenList => "`[`".to_owned(),
            Token::CloseList => "`]`".to_owned(),
            Token::Comma => "`,`".to_owned(),
        };
        Err(error(self.column(), format_args!("expected {what}, found {found}")))
    }

    fn any(&mut self) -> Result<Node> {
        let mut parts = vec![self.all()?];
        while self.take_word("or") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Node::Or))
    }

    fn all(&mut self) -> Result<Node> {
        let mut parts = vec![self.unary()?];
        while self.take_word("and") {
            parts.push(self.unary()?);
        }
        Ok(one_or(parts, Node::And))
    }

    fn unary(&mut self) -> Result<Node> {
        let column = self.column();
        if self.take_word("not") {
            return self.deeper(column, |parser| Ok(Node::Not(Box::new(parser.unary()?))));
        }
        if self.take(&Token::Open) {
            return self.deeper(column, |parser| {
                let inner = parser.any()?;
                parser.expect(&Token::Close, "`)`")?;
                Ok(inner)
            });
        }
        self.test()
    }

    fn deeper(&mut self, column: usize, parse: impl FnOnce(&mut Self) -> Result<Node>) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(error(column, format_args!("the expression nests deeper than {DEPTH_MAX} levels")));
        }
        let inner = parse(self)?;
        self.depth -= 1;
        Ok(inner)
    }

    /// A comparison, a test, or a value that is true by itself.
    fn test(&mut self) -> Result<Node> {
        if let Some(test) = self.function()? {
            return Ok(test);
        }
        let left = self.operand()?;
        if let Token::Comparison(comparison) = *self.peek() {
            self.next();
            return Ok(Node::Compare(left, comparison, self.operand()?));
        }
        if self.take_word("contains") {
            return Ok(Node::Text(TextTest::Contains, left, self.operand()?));
        }
        if self.take_word("starts_with") {
            return Ok(Node::Text(TextTest::StartsWith, left, self.operand()?));
        }
        if self.take_word("ends_with") {
            return Ok(Node::Text(TextTest::EndsWith, left, self.operand()?));
        }
        if self.take_word("in") {
            return Ok(Node::In(left, self.list()?));
        }
        if self.take_word("not") {
            if !self.take_word("in") {
                return self.unexpected("`in`");
            }
            return Ok(Node::Not(Box::new(Node::In(left, self.list()?))));
        }
        Ok(Node::Is(left))
    }

    /// A test in the form of a function: `exists(field)`, `contains(a, b)`.
    fn function(&mut self) -> Result<Option<Node>> {
        let is_call = self.tokens.get(self.place + 1).is_some_and(|next| next.token == Token::Open);
        let Token::Word(name) = self.peek().clone() else { return Ok(None) };
        if !is_call || name == "not" {
            return Ok(None);
        }
        let test = match name.as_str() {
            "exists" => None,
            "contains" => Some(TextTest::Contains),
            "starts_with" => Some(TextTest::StartsWith),
            "ends_with" => Some(TextTest::EndsWith),
            _ => return self.unexpected("one of the functions `exists`, `contains`, `starts_with`, `ends_with`"),
        };
        self.next();
        self.next();
        let column = self.column();
        let first = self.operand()?;
        let node = match test {
            None if matches!(first, Operand::Literal(_)) => {
                return Err(error(column, "`exists` takes the path of a field, `key` or `timestamp`"));
            }
            None => Node::Exists(first),
            Some(test) => {
                self.expect(&Token::Comma, "`,`")?;
                Node::Text(test, first, self.operand()?)
            }
        };
        self.expect(&Token::Close, "`)`")?;
        Ok(Some(node))
    }

    fn operand(&mut self) -> Result<Operand> {
        if let Some(literal) = self.literal() {
            return Ok(Operand::Literal(literal));
        }
        let Token::Word(word) = self.peek().clone() else {
            return self.unexpected("a field, `key`, `timestamp`, a number or a text");
        };
        const KEYWORDS: [&str; 7] = ["and", "or", "not", "in", "contains", "starts_with", "ends_with"];
        if KEYWORDS.contains(&word.as_str()) {
            return self.unexpected("a field, `key`, `timestamp`, a number or a text");
        }
        let column = self.column();
        self.next();
        Ok(match word.as_str() {
            "key" => Operand::Key,
            "timestamp" => Operand::Timestamp,
            path => {
                let path = path.strip_prefix('`').unwrap_or(path);
                crate::fields::names(path).map_err(|bad| error(column, bad.reason()))?;
                Operand::Field(self.names.place(path))
            }
        })
    }

    fn literal(&mut self) -> Option<Literal> {
        let literal = match self.peek() {
            Token::Integer(number) => Literal::Integer(*number),
            Token::Float(number) => Literal::Float(*number),
            Token::Text(text) => Literal::Text(text.clone()),
            Token::Word(word) => match word.as_str() {
                "null" => Literal::Null,
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                _ => return None,
            },
            _ => return None,
        };
        self.next();
        Some(literal)
    }

    fn list(&mut self) -> Result<Vec<Literal>> {
        self.expect(&Token::OpenList, "`[`")?;
        let mut literals = Vec::new();
        loop {
            match self.literal() {
                Some(literal) => literals.push(literal),
                None => return self.unexpected("a number, a text, `true`, `false` or `null`"),
            }
            if self.take(&Token::CloseList) {
                return Ok(literals);
            }
            self.expect(&Token::Comma, "`,` or `]`")?;
        }
    }
}

/// The only part by itself, or all parts together.
fn one_or(mut parts: Vec<Node>, together: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            together(parts)
        }
    }
}
