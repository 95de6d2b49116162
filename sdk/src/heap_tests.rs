//! The heap over a piece of ordinary memory.

use super::*;

const SIZE: usize = 1 << 22;

/// Memory for a heap, aligned to a page of the guest.
struct Memory(Vec<u8>);

impl Memory {
    fn new() -> (Self, Heap) {
        let mut memory = Self(vec![0; SIZE + (1 << 16)]);
        let start = memory.0.as_mut_ptr().expose_provenance().next_multiple_of(1 << 16);
        (memory, Heap::new(start, start + SIZE))
    }
}

fn no_growth(_: usize) -> Option<usize> {
    None
}

fn alloc(heap: &mut Heap, size: usize, align: usize) -> usize {
    // SAFETY: the tests free each block once, as it was allocated.
    unsafe { heap.alloc(size, align, no_growth) }.expect("the memory suffices")
}

fn free(heap: &mut Heap, block: usize, size: usize, align: usize) {
    // SAFETY: as above.
    unsafe { heap.free(block, size, align) };
}

#[test]
fn blocks_in_use_do_not_overlap() {
    let (_memory, mut heap) = Memory::new();
    let mut blocks: Vec<(usize, usize, usize)> = Vec::new();
    let mut random = 88_172_645_463_325_252_u64;
    for step in 0..20_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let size = [1, 8, 24, 100, 500, 3_000, 40_000][(random % 7) as usize] + (random >> 32) as usize % 8;
        let align = [1, 4, 8, 16, 64][(random >> 8) as usize % 5];
        if blocks.len() > 20 || (random >> 16).is_multiple_of(3) && !blocks.is_empty() {
            let (block, size, align) = blocks.swap_remove((random >> 24) as usize % blocks.len());
            free(&mut heap, block, size, align);
        } else if size <= 4_000 || step < 200 {
            let block = alloc(&mut heap, size, align);
            assert!(block.is_multiple_of(align), "{block:x} is aligned to {align}");
            for &(other, other_size, _) in &blocks {
                assert!(block + size <= other || other + other_size <= block, "{block:x} overlaps {other:x}");
            }
            blocks.push((block, size, align));
        }
    }
    assert!(blocks.len() > 5);
}

#[test]
fn small_blocks_are_reused_and_large_ones_at_the_top() {
    let (_memory, mut heap) = Memory::new();
    let small = alloc(&mut heap, 100, 8);
    let other = alloc(&mut heap, 100, 8);
    free(&mut heap, small, 100, 8);
    free(&mut heap, other, 100, 8);
    assert_eq!((alloc(&mut heap, 120, 1), alloc(&mut heap, 65, 16)), (other, small));
    let large = alloc(&mut heap, 100_000, 8);
    free(&mut heap, large, 100_000, 8);
    assert_eq!(alloc(&mut heap, 50_000, 8), large);
}

#[test]
fn blocks_grow_in_place_within_their_class_and_at_the_top() {
    let (_memory, mut heap) = Memory::new();
    let small = alloc(&mut heap, 33, 8);
    assert!(heap.resize(small, 33, 8, 64, no_growth));
    assert!(!heap.resize(small, 64, 8, 65, no_growth));
    let large = alloc(&mut heap, 100_000, 8);
    assert!(heap.resize(large, 100_000, 8, 200_000, no_growth));
    assert_eq!(heap.top, large + 200_000);
    assert!(heap.resize(large, 200_000, 8, 150_000, no_growth));
    assert_eq!(heap.top, large + 150_000);
    let above = alloc(&mut heap, 40_000, 8);
    assert!(!heap.resize(large, 150_000, 8, 160_000, no_growth));
    assert!(heap.resize(large, 150_000, 8, 40_000, no_growth));
    assert!(!heap.resize(above, 40_000, 8, 100, no_growth));
}

#[test]
fn the_heap_grows_when_it_is_full_and_says_when_it_cannot() {
    let (_memory, mut heap) = Memory::new();
    heap.end = heap.top + 1_000;
    let (top, end) = (heap.top, heap.top + 100_000);
    // SAFETY: nothing is freed.
    let block = unsafe {
        heap.alloc(50_000, 8, |wanted| {
            assert_eq!(wanted, top + 50_000);
            Some(end)
        })
    };
    assert_eq!((block, heap.end), (Some(top), end));
    // SAFETY: nothing is freed.
    assert_eq!(unsafe { heap.alloc(60_000, 8, no_growth) }, None);
    // SAFETY: nothing is freed.
    assert_eq!(unsafe { heap.alloc(usize::MAX - 8, 8, no_growth) }, None);
    assert_eq!(alloc(&mut heap, 40_000, 8), top + 50_000);
}
