// allocator.rs - Labyrinth as the allocator of a Rust program, without a crate: what is below `extern "C"` may be copied into one.
//
// Build it with rustc alone, against an installed Labyrinth:
//     rustc -O allocator.rs -l dylib=labyrinth_core          (-l static=labyrinth_core: the archive)
// It counts words in several threads, and then takes memory at once, as a signal handler or a real-time thread would.
use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashMap;
use std::ffi::c_void;

const KERNEL: u32 = 0;
const ATOMIC: u32 = 0x12;

extern "C" {
    fn lab_malloc(size: usize) -> *mut c_void;
    fn lab_calloc(count: usize, size: usize) -> *mut c_void;
    fn lab_realloc(block: *mut c_void, size: usize, gfp: u32) -> *mut c_void;
    fn lab_aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    fn lab_alloc(size: usize, gfp: u32) -> *mut c_void;
    fn lab_free(block: *mut c_void);
    fn lab_owns(block: *const c_void) -> bool;
}

pub struct Labyrinth;

// What lab_malloc aligns to without being asked.
const ALIGNED: usize = 16;

unsafe impl GlobalAlloc for Labyrinth {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNED {
            lab_malloc(layout.size()) as *mut u8
        } else {
            lab_aligned_alloc(layout.align(), layout.size()) as *mut u8
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNED {
            return lab_calloc(1, layout.size()) as *mut u8;
        }
        let block = self.alloc(layout);
        if !block.is_null() {
            std::ptr::write_bytes(block, 0, layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        lab_free(block as *mut c_void)
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= ALIGNED {
            return lab_realloc(block as *mut c_void, size, KERNEL) as *mut u8;
        }
        let larger = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
        if !larger.is_null() {
            std::ptr::copy_nonoverlapping(block, larger, layout.size().min(size));
            self.dealloc(block, layout);
        }
        larger
    }
}

#[global_allocator]
static LABYRINTH: Labyrinth = Labyrinth;

// A block of the atomic tier: memory at once or none, without lock, system call or page fault.
struct Packet(*mut c_void);

impl Packet {
    fn new(size: usize) -> Option<Packet> {
        let block = unsafe { lab_alloc(size, ATOMIC) };
        if block.is_null() {
            None
        } else {
            Some(Packet(block))
        }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        unsafe { lab_free(self.0) }
    }
}

#[repr(align(64))]
#[derive(Clone)]
struct Line(u64);

fn count_words(seed: usize) -> usize {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for i in 0..20_000 {
        *counts.entry(format!("word {}", (i * seed) % 997)).or_default() += 1;
    }
    counts.values().sum()
}

fn main() {
    let threads: Vec<_> = (1..5).map(|seed| std::thread::spawn(move || count_words(seed))).collect();
    let words: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{} words", words);

    let mut lines = vec![Line(7)];
    lines.resize(1000, Line(8));
    let zeros = vec![0u8; 1 << 20];
    assert!(lines[0].0 == 7 && lines.as_ptr() as usize % 64 == 0 && zeros.iter().all(|&byte| byte == 0));
    assert!(unsafe { lab_owns(lines.as_ptr() as *const c_void) && lab_owns(zeros.as_ptr() as *const c_void) });

    let packets: Vec<_> = (0..10).filter_map(|_| Packet::new(200)).collect();
    println!("{} packets at once", packets.len());
    assert!(Packet::new(1 << 20).is_none(), "more than the reserve gives at once");
}
