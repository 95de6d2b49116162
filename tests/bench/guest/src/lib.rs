//! A filter that costs as little as a filter can: what is measured around it is the host.

use millstream_sdk::prelude::*;

/// Keeps rows whose first byte is even.
#[transform]
pub fn keep_even(value: &[u8]) -> bool {
    value.first().is_some_and(|byte| byte % 2 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_an_even_first_byte_are_kept() {
        assert!(keep_even(b"bcd"));
        assert!(!keep_even(b"a") && !keep_even(b""));
    }
}
