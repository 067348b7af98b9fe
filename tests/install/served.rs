// served.rs - a Rust program whose allocator is Labyrinth, and which asks for memory at once. What served.c checks in C. Environment: as
// there.
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

const KERNEL: u32 = 0;
const ATOMIC: u32 = 0x12;
const MEMALLOC: u32 = 0x20;
const ZERO: u32 = 0x40;
const SLOTS: usize = 1000;

extern "C" {
    fn lab_alloc_aligned(alignment: usize, size: usize, gfp: u32) -> *mut c_void;
    fn lab_alloc(size: usize, gfp: u32) -> *mut c_void;
    fn lab_free(block: *mut c_void);
    fn lab_owns(block: *const c_void) -> bool;
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
}

struct Labyrinth;

unsafe impl GlobalAlloc for Labyrinth {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        lab_alloc_aligned(layout.align(), layout.size(), KERNEL) as *mut u8
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        lab_alloc_aligned(layout.align(), layout.size(), KERNEL | ZERO) as *mut u8
    }
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        lab_free(block as *mut c_void)
    }
}

#[global_allocator]
static LABYRINTH: Labyrinth = Labyrinth;

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn main() {
    let vector = vec![7u64; 5000];
    assert!(unsafe { lab_owns(vector.as_ptr() as *const c_void) });

    let slots: Vec<_> = (0..SLOTS).map(|_| unsafe { lab_alloc(64, ATOMIC | MEMALLOC) }).collect();
    assert!(slots.iter().all(|slot| !slot.is_null()), "the setting gives {} slots", SLOTS);
    slots.into_iter().for_each(|slot| unsafe { lab_free(slot) });

    assert_eq!(threads(), 2);
    let mut status = 0;
    unsafe {
        let child = fork();
        if child == 0 {
            _exit(if threads() == 2 { 0 } else { 1 });
        }
        assert!(waitpid(child, &mut status, 0) == child && status == 0, "the child has no background thread");
    }
}
