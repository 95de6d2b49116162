//! The guest's memory: an allocator for instances that live for one call.
//!
//! Memory is taken from the top of the heap. Small blocks come in sizes of powers of two, and what is given back waits in
//! a list of its size; a large block that is not the topmost one is not reused, since the columns of a batch are few and
//! the instance ends with the call. So allocating is a few instructions, and a vector that grows at the top of the heap
//! grows in place.
//!
//! The arithmetic is over addresses and knows no pointers but in the lists of free blocks, which is why it can be tested
//! natively over a piece of ordinary memory.

#![expect(unsafe_code, reason = "an allocator hands out memory")]

use std::ptr;

/// Blocks up to this size are rounded up to a power of two and kept for reuse.
const SMALL_MAX: usize = 1 << 15;
/// The smallest block, and the alignment of all small ones: there is room for the link of the list.
const SMALL_MIN: usize = 16;
/// One list for each power of two from [`SMALL_MIN`] to [`SMALL_MAX`].
const CLASSES: usize = (SMALL_MAX.trailing_zeros() - SMALL_MIN.trailing_zeros() + 1) as usize;

/// A heap between two addresses; the upper one can be moved up.
#[derive(Debug)]
struct Heap {
    /// The first address that was never handed out.
    top: usize,
    /// The first address behind the heap.
    end: usize,
    /// The first free block of each class, 0 for none. A free block begins with the address of the next one.
    free: [usize; CLASSES],
}

/// The list that blocks of this size belong to; none for blocks that are taken as they are: large and over-aligned ones.
#[inline]
fn class_of(size: usize, align: usize) -> Option<usize> {
    let size = size.max(SMALL_MIN);
    (size <= SMALL_MAX && align <= SMALL_MIN).then(|| (size.next_power_of_two() / SMALL_MIN).trailing_zeros() as usize)
}

impl Heap {
    /// A heap from `top` to `end`.
    const fn new(top: usize, end: usize) -> Self {
        Self { top, end, free: [0; CLASSES] }
    }

    /// Hands out a block; none if `grow`, which gets the address that the heap has to reach and answers with the one it
    /// now reaches, cannot.
    ///
    /// # Safety
    /// Blocks in the lists must still be this heap's, which they are if `free` was called as it asks.
    #[inline]
    unsafe fn alloc(&mut self, size: usize, align: usize, grow: impl FnOnce(usize) -> Option<usize>) -> Option<usize> {
        let Some(class) = class_of(size, align) else { return self.bump(size, align, grow) };
        let list = self.free.get_mut(class)?;
        let block = *list;
        if block == 0 {
            return self.bump(SMALL_MIN << class, SMALL_MIN, grow);
        }
        // SAFETY: a block in a list is unused, aligned to 16 bytes, and was given a link when it was freed.
        *list = unsafe { ptr::read(ptr::with_exposed_provenance::<usize>(block)) };
        Some(block)
    }

    #[inline]
    fn bump(&mut self, size: usize, align: usize, grow: impl FnOnce(usize) -> Option<usize>) -> Option<usize> {
        let block = self.top.checked_next_multiple_of(align)?;
        let top = block.checked_add(size)?;
        if top > self.end {
            self.end = grow(top)?;
        }
        self.top = top;
        Some(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// The block is of this heap, of this size and alignment, and no longer used.
    #[inline]
    unsafe fn free(&mut self, block: usize, size: usize, align: usize) {
        match class_of(size, align) {
            None if block + size == self.top => self.top = block,
            None => {}
            Some(class) => {
                if let Some(list) = self.free.get_mut(class) {
                    // SAFETY: the block is ours again, and holds at least 16 bytes, aligned to as many.
                    unsafe { ptr::write(ptr::with_exposed_provenance_mut::<usize>(block), *list) };
                    *list = block;
                }
            }
        }
    }

    /// Whether the block can have the new size where it is; then it has.
    #[inline]
    fn resize(
        &mut self,
        block: usize,
        size: usize,
        align: usize,
        new_size: usize,
        grow: impl FnOnce(usize) -> Option<usize>,
    ) -> bool {
        match (class_of(size, align), class_of(new_size, align)) {
            (Some(old), Some(new)) => old == new,
            (None, None) if block + size == self.top => {
                let Some(top) = block.checked_add(new_size) else { return false };
                if top > self.end {
                    let Some(end) = grow(top) else { return false };
                    self.end = end;
                }
                self.top = top;
                true
            }
            // Shrinking a large block below others only leaves a gap.
            (None, None) => new_size <= size,
            _ => false,
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use guest::reserve;

#[cfg(target_arch = "wasm32")]
mod guest {
    //! The heap of the instance, above the stack and the statics.

    use std::alloc::{GlobalAlloc, Layout};
    use std::arch::wasm32::{memory_grow, memory_size};
    use std::cell::UnsafeCell;
    use std::ptr;

    use super::Heap;

    const PAGE: usize = 1 << 16;
    /// Memory grows by at least this much: growing costs more than the pages that stay untouched.
    const GROWTH_MIN: usize = 1 << 20;
    /// What `init` leaves free for the calls. Batches are up to 1 MiB, in and out, and what a call makes besides.
    const RESERVE: usize = 3 << 20;

    struct Guest(UnsafeCell<Heap>);

    // SAFETY: the guest is built without threads.
    unsafe impl Sync for Guest {}

    #[global_allocator]
    static HEAP: Guest = Guest(UnsafeCell::new(Heap::new(0, 0)));

    impl Guest {
        /// # Safety
        /// One reference at a time: no method of the heap calls another one of the allocator.
        #[expect(clippy::mut_from_ref, reason = "single-threaded, and each use ends before the next begins")]
        #[inline]
        unsafe fn heap(&self) -> &mut Heap {
            // SAFETY: see above.
            let heap = unsafe { &mut *self.0.get() };
            if heap.end == 0 {
                begin(heap);
            }
            heap
        }
    }

    #[cold]
    fn begin(heap: &mut Heap) {
        unsafe extern "C" {
            // The linker's: the first address that neither stack nor statics take.
            static __heap_base: u8;
        }
        heap.top = (&raw const __heap_base).expose_provenance();
        heap.end = memory_size::<0>() * PAGE;
    }

    /// Grows the memory until it reaches `top`; none if the host refuses.
    #[cold]
    fn grow(top: usize) -> Option<usize> {
        let end = memory_size::<0>() * PAGE;
        let pages = top.saturating_sub(end).max(GROWTH_MIN).div_ceil(PAGE);
        let needed = top.saturating_sub(end).div_ceil(PAGE);
        // The host may have less to give than is handy, and still enough.
        let grown = [pages, needed].into_iter().find(|&pages| memory_grow::<0>(pages) != usize::MAX)?;
        Some(end + grown * PAGE)
    }

    /// Grows the heap ahead of the calls, which all start from the memory that `init` leaves.
    pub(crate) fn reserve() {
        // SAFETY: nothing else uses the heap meanwhile.
        let heap = unsafe { HEAP.heap() };
        let wanted = heap.top.saturating_add(RESERVE);
        if wanted > heap.end
            && let Some(end) = grow(wanted)
        {
            heap.end = end;
        }
    }

    // SAFETY: blocks come from the heap's own memory, do not overlap while they are used, and are aligned as asked.
    unsafe impl GlobalAlloc for Guest {
        #[inline]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: one use of the heap at a time; the lists hold what `dealloc` was given.
            let block = unsafe { self.heap().alloc(layout.size(), layout.align(), grow) };
            block.map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
        }

        #[inline]
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the caller gives back a block of this heap with its layout.
            unsafe { self.heap().free(block.expose_provenance(), layout.size(), layout.align()) };
        }

        #[inline]
        unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            let (size, align) = (layout.size(), layout.align());
            // SAFETY: one use of the heap at a time.
            if unsafe { self.heap().resize(block.expose_provenance(), size, align, new_size, grow) } {
                return block;
            }
            // SAFETY: the alignment is the old one's, and the caller keeps the size within bounds.
            let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, align) };
            // SAFETY: both blocks are as large as what is copied, and the new one overlaps no block in use.
            unsafe {
                let new = self.alloc(new_layout);
                if !new.is_null() {
                    ptr::copy_nonoverlapping(block, new, size.min(new_size));
                    self.dealloc(block, layout);
                }
                new
            }
        }
    }
}

#[cfg(test)]
#[path = "heap_tests.rs"]
mod tests;
