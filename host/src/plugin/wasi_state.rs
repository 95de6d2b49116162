//! What the stubs of WASI remember in one instance.

/// Seed of the random numbers: digits of pi, so that it is plainly not chosen for an effect.
const SEED: u64 = 0x3141_5926_5358_9793;

/// State of the stubs in one instance.
#[derive(Debug)]
pub(super) struct Wasi {
    random: u64,
    /// Handles that the guest holds. They are not part of its memory, so no snapshot has them.
    pub(super) handles: usize,
    /// What was printed and is not yet a line.
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Default for Wasi {
    fn default() -> Self {
        Self { random: SEED, handles: 0, stdout: Vec::new(), stderr: Vec::new() }
    }
}

impl Wasi {
    /// The next random number, of SplitMix64.
    pub(super) fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_the_same_in_every_instance() {
        let draw = || {
            let mut wasi = Wasi::default();
            [wasi.draw(), wasi.draw(), wasi.draw()]
        };
        assert_eq!(draw(), draw());
        assert_ne!(draw()[0], draw()[1]);
    }
}
