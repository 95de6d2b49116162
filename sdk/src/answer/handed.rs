//! Rows that were handed over before the answer is complete.

use super::Rows;

/// Rows of an answer that the host has already. Natively they are kept here.
#[derive(Debug, Default)]
pub(super) struct Handed {
    rows: usize,
    bytes: usize,
    #[cfg(not(target_arch = "wasm32"))]
    pieces: Vec<Rows>,
}

impl Handed {
    /// How many rows they are.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What they count for, with those that were taken back.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands over rows, of which none are left.
    #[cold]
    pub(super) fn hand_over(&mut self, rows: &mut Rows) {
        self.rows += rows.source_rows.len();
        self.bytes += rows.bytes();
        #[cfg(target_arch = "wasm32")]
        crate::guest::emit(rows);
        #[cfg(not(target_arch = "wasm32"))]
        self.pieces.push(std::mem::take(rows));
    }

    /// Takes back all but the first rows.
    #[cold]
    pub(super) fn keep(&mut self, rows: usize) {
        self.rows = rows;
        #[cfg(target_arch = "wasm32")]
        crate::guest::keep(rows as u64);
        #[cfg(not(target_arch = "wasm32"))]
        self.truncate(rows);
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn truncate(&mut self, rows: usize) {
        let mut left = rows;
        for piece in &mut self.pieces {
            piece.truncate(left);
            left -= piece.source_rows.len();
        }
        self.pieces.retain(|piece| !piece.source_rows.is_empty());
    }

    /// The pieces that the host does not have: natively all of them.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn into_pieces(self) -> Vec<Rows> {
        self.pieces
    }

    /// The pieces that the host does not have: none.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn into_pieces(self) -> Vec<Rows> {
        Vec::new()
    }
}
