//! A plugin that does what plugins must not do, where a row tells it to: `trap`, `overflow`, `loop`, `recurse`, `hoard`.
//! Other rows pass as they are.

use std::hint::black_box;

use millstream_sdk::prelude::*;

/// The plugin.
#[derive(Debug)]
pub struct Hostile;

/// Misbehaves on the rows `trap`, `overflow`, `loop`, `recurse` and `hoard`; other rows pass.
#[transform(outputs(passed = "The rows that are no command."))]
impl Transform for Hostile {
    type Config = NoConfig;
    type Input<'a> = &'a [u8];

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Hostile)
    }

    fn record(&self, value: &[u8], out: &mut Out<'_, '_>) -> Result<()> {
        match value {
            b"trap" => panic!("told to"),
            b"overflow" => {
                black_box(black_box(u8::MAX) + black_box(1));
            }
            b"loop" => endless(),
            b"recurse" => {
                black_box(deeper(0));
            }
            b"hoard" => hoard(),
            _ => {
                out.row();
            }
        }
        Ok(())
    }
}

fn endless() {
    let mut turns = 0_u64;
    while black_box(turns) < u64::MAX {
        turns += 1;
    }
}

#[expect(unconditional_recursion, reason = "that it never ends is what it is for")]
fn deeper(level: u64) -> u64 {
    let below = deeper(black_box(level) + 1);
    black_box(below).wrapping_add(level)
}

fn hoard() {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        // Not written to: it must be the limit of memory that ends this, not that of fuel.
        held.push(black_box(Vec::with_capacity(1 << 20)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic = "attempt to add with overflow"]
    fn what_overflows_in_a_test_traps_in_the_component() {
        testing::run(&Hostile, ["overflow"]);
    }

    #[test]
    fn other_rows_pass() {
        let out = testing::run(&Hostile, ["a", "trapped", ""]);
        assert_eq!(out.values(), ["a", "trapped", ""]);
    }
}
