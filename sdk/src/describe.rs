//! What a plugin says of itself: the columns it reads and the outputs by which rows leave.

/// A way out of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// The name by which a pipeline routes it.
    pub name: &'static str,
    /// What leaves here, in a sentence.
    pub summary: &'static str,
}

impl Output {
    /// An output of that name.
    pub const fn new(name: &'static str, summary: &'static str) -> Self {
        Self { name, summary }
    }
}

/// The outputs of a plugin that names none.
pub const ONE_OUTPUT: &[Output] = &[Output::new("out", "All rows that the plugin emits.")];

/// The columns that a plugin reads. The host need not send the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reads {
    /// The rows' keys.
    pub keys: bool,
    /// The rows' values.
    pub values: bool,
    /// The rows' headers.
    pub headers: bool,
}

impl Reads {
    /// Nothing but event times.
    pub const NONE: Self = Self { keys: false, values: false, headers: false };
    /// Keys.
    pub const KEYS: Self = Self { keys: true, ..Self::NONE };
    /// Values.
    pub const VALUES: Self = Self { values: true, ..Self::NONE };
    /// Headers.
    pub const HEADERS: Self = Self { headers: true, ..Self::NONE };
    /// Everything.
    pub const ALL: Self = Self { keys: true, values: true, headers: true };

    /// What either reads.
    pub const fn and(self, other: Self) -> Self {
        Self {
            keys: self.keys || other.keys,
            values: self.values || other.values,
            headers: self.headers || other.headers,
        }
    }

    /// The same but for keys.
    pub const fn without_keys(self) -> Self {
        Self { keys: false, ..self }
    }

    /// The names of the columns, as the contract has them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.keys, "keys"), (self.values, "values"), (self.headers, "headers")]
            .into_iter()
            .filter_map(|(read, name)| read.then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_as_in_the_contract() {
        assert_eq!(Reads::ALL.names().collect::<Vec<_>>(), ["keys", "values", "headers"]);
        assert_eq!(Reads::KEYS.and(Reads::HEADERS).names().collect::<Vec<_>>(), ["keys", "headers"]);
        assert_eq!(Reads::NONE.names().count(), 0);
    }
}
