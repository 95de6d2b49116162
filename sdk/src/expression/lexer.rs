//! Tokens of an expression, each with the column where it begins.

use super::tree::Comparison;

/// The smallest part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A word: a keyword, a function, or the path of a field.
    Word(String),
    Integer(i64),
    Float(f64),
    Text(String),
    Comparison(Comparison),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    End,
}

/// A token and its column, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) column: usize,
}

/// Why an expression cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Where, counted from 1.
    pub(super) column: usize,
    pub(super) message: String,
}

pub(super) type Result<T> = std::result::Result<T, Unreadable>;

/// The error of an expression that cannot be read.
pub(super) fn error(column: usize, message: impl std::fmt::Display) -> Unreadable {
    Unreadable { column, message: message.to_string() }
}

/// All tokens of the expression, [`Token::End`] last.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>> {
    let mut lexer = Lexer { letters: text.chars().collect(), place: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let is_end = token.token == Token::End;
        tokens.push(token);
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer {
    letters: Vec<char>,
    place: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.place).copied()
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let taken: String = self.letters.iter().skip(self.place).take_while(|letter| fits(**letter)).collect();
        self.place += taken.chars().count();
        taken
    }

    /// Takes the letter if it comes next.
    fn take(&mut self, letter: char) -> bool {
        let comes = self.peek() == Some(letter);
        self.place += usize::from(comes);
        comes
    }

    fn next(&mut self) -> Result<Placed> {
        self.take_while(char::is_whitespace);
        let column = self.place + 1;
        let Some(letter) = self.peek() else { return Ok(Placed { token: Token::End, column }) };
        let token = match letter {
            '"' | '\'' => self.text(letter)?,
            '`' => self.quoted_path()?,
            '0'..='9' | '-' => self.number()?,
            _ if is_word(letter) => Token::Word(self.take_while(|letter| is_word(letter) || letter == '.')),
            _ => {
                self.place += 1;
                self.sign(letter).ok_or_else(|| error(column, format_args!("`{letter}` has no meaning here")))?
            }
        };
        Ok(Placed { token, column })
    }

    fn sign(&mut self, letter: char) -> Option<Token> {
        Some(match letter {
            '(' => Token::Open,
            ')' => Token::Close,
            '[' => Token::OpenList,
            ']' => Token::CloseList,
            ',' => Token::Comma,
            '=' => {
                self.take('=');
                Token::Comparison(Comparison::Equal)
            }
            '!' if self.take('=') => Token::Comparison(Comparison::NotEqual),
            '<' if self.take('=') => Token::Comparison(Comparison::LessOrEqual),
            '<' => Token::Comparison(Comparison::Less),
            '>' if self.take('=') => Token::Comparison(Comparison::GreaterOrEqual),
            '>' => Token::Comparison(Comparison::Greater),
            _ => return None,
        })
    }

    fn number(&mut self) -> Result<Token> {
        let column = self.place + 1;
        let start = self.place;
        self.take('-');
        self.take_while(|letter| letter.is_ascii_digit() || letter == '.');
        if self.take('e') || self.take('E') {
            let _ = self.take('-') || self.take('+');
            self.take_while(|letter| letter.is_ascii_digit());
        }
        let text: String = self.letters.iter().take(self.place).skip(start).collect();
        if let Ok(integer) = text.parse() {
            return Ok(Token::Integer(integer));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Float(number)),
            _ => Err(error(column, format_args!("`{text}` is no number"))),
        }
    }

    /// A text in quotes of either kind; a backslash takes the next letter as it is, `\n` and `\t` are what they are in JSON.
    fn text(&mut self, quote: char) -> Result<Token> {
        let column = self.place + 1;
        self.place += 1;
        let mut text = String::new();
        while let Some(letter) = self.peek() {
            self.place += 1;
            match letter {
                _ if letter == quote => return Ok(Token::Text(text)),
                '\\' => {
                    let escaped = self.peek().ok_or_else(|| error(column, "the text has no closing quote"))?;
                    self.place += 1;
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        other => other,
                    });
                }
                other => text.push(other),
            }
        }
        Err(error(column, "the text has no closing quote"))
    }

    /// A path in backticks, for names with other letters than those of words.
    fn quoted_path(&mut self) -> Result<Token> {
        let column = self.place + 1;
        self.place += 1;
        let path = self.take_while(|letter| letter != '`');
        if self.take('`') {
            Ok(Token::Word(format!("`{path}")))
        } else {
            Err(error(column, "the path has no closing backtick"))
        }
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '@' || letter == '$'
}
