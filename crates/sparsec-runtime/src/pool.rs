//! A thread pool that compiled models can borrow.
//!
//! Threads stay alive between loops. One loop is in flight at a time. Each worker has a part of it to itself, one behind the
//! other, so that in a chain of loops over the same image a core reads what it wrote. It takes half of what is left of it at a time, since iterations of a group share work when they run together; whoever
//! is done takes from the others' parts, so that a slow core does not hold the others up. Threads spin for some microseconds between loops before they
//! sleep, since the loops of a model follow each other closely.
#![allow(unsafe_code, reason = "the loop's body is a C function with a pointer")]

use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use sparsec_abi::{Body, Parallel};

use crate::RuntimeError;

/// The last pieces of a worker's part are a part's this fraction: small enough that threads end together (28 strips of an image in
/// pieces of 3 are 15 and 13), large enough that handing out costs nothing.
const PIECES_PER_WORKER: i64 = 16;
/// Turns of the waiting loop before a thread sleeps.
const SPINS: u32 = 4096;

/// A pool of worker threads; the thread that starts a loop works too.
pub struct ThreadPool {
    shared: Arc<Shared>,
    /// One loop at a time: callers queue here.
    turn: Mutex<()>,
    threads: Vec<JoinHandle<()>>,
}

/// What a loop runs.
#[derive(Clone, Copy)]
struct Job {
    body: Body,
    arg: *mut c_void,
    extent: i64,
    piece: i64,
}

// SAFETY: the pointer is handed to a body that the ABI requires to be callable from any thread.
unsafe impl Send for Job {}

struct Shared {
    /// Number of the newest loop; 0 is none.
    epoch: AtomicU64,
    job: Mutex<Option<Job>>,
    wake: Condvar,
    /// The next iteration to hand out of each worker's part.
    next: Vec<Next>,
    /// Threads of the pool that have not finished the newest loop.
    running: AtomicUsize,
    stop: AtomicBool,
}

/// A counter in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Next(AtomicI64);

impl ThreadPool {
    /// A pool of `threads` workers, the calling one included.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(threads: usize) -> Result<ThreadPool, RuntimeError> {
        let threads = threads.clamp(1, sparsec_abi::MAX_THREADS as usize);
        let shared = Arc::new(Shared {
            epoch: AtomicU64::new(0),
            job: Mutex::new(None),
            wake: Condvar::new(),
            next: (0..threads).map(|_| Next::default()).collect(),
            running: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let mut pool = ThreadPool { shared, turn: Mutex::new(()), threads: Vec::new() };
        for worker in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new()
                .name(format!("sparsec-{worker}"))
                .spawn(move || shared.work(worker as i32))
                .map_err(RuntimeError::Thread)?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Number of workers, the calling thread included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// The pool as the ABI describes one. Valid while the pool lives and does not move: keep it in an [`Arc`].
    pub(crate) fn as_parallel(self: &Arc<Self>) -> Parallel {
        Parallel {
            this: Arc::as_ptr(self).cast_mut().cast(),
            threads: self.threads() as i32,
            parallel_for: Some(parallel_for),
        }
    }

    fn run(&self, extent: i64, body: Body, arg: *mut c_void) {
        if extent <= 0 {
            return;
        }
        let _turn = lock(&self.turn);
        let pieces = PIECES_PER_WORKER * self.threads() as i64;
        let job = Job { body, arg, extent, piece: (extent / pieces).max(1) };
        let shared = &self.shared;
        {
            let mut slot = lock(&shared.job);
            *slot = Some(job);
            for (worker, next) in shared.next.iter().enumerate() {
                next.0.store(shared.part(extent, worker).start, Ordering::Relaxed);
            }
            shared.running.store(self.threads.len(), Ordering::Relaxed);
            shared.epoch.fetch_add(1, Ordering::Release);
        }
        shared.wake.notify_all();
        shared.pieces(job, 0);
        // The others are at their last pieces: waiting is short.
        let mut spins = 0u32;
        while shared.running.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        {
            let _slot = lock(&self.shared.job);
            self.shared.stop.store(true, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A worker can't panic; if one did, there is nothing left to clean up.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self, worker: i32) {
        let mut seen = 0;
        while let Some((epoch, job)) = self.wait(seen) {
            seen = epoch;
            self.pieces(job, worker);
            self.running.fetch_sub(1, Ordering::Release);
        }
    }

    /// The next loop after `seen`; `None` when the pool ends.
    fn wait(&self, seen: u64) -> Option<(u64, Job)> {
        for _ in 0..SPINS {
            if self.epoch.load(Ordering::Acquire) != seen || self.stop.load(Ordering::Acquire) {
                break;
            }
            std::hint::spin_loop();
        }
        let mut slot = lock(&self.job);
        loop {
            if self.stop.load(Ordering::Acquire) {
                return None;
            }
            let epoch = self.epoch.load(Ordering::Acquire);
            if let (true, Some(job)) = (epoch != seen, *slot) {
                return Some((epoch, job));
            }
            slot = self.wake.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The iterations that a worker begins with.
    fn part(&self, extent: i64, worker: usize) -> Range<i64> {
        let (worker, workers) = (worker as i64, self.next.len() as i64);
        let start = |worker: i64| extent / workers * worker + (extent % workers).min(worker);
        start(worker)..start(worker + 1)
    }

    /// Runs pieces of the worker's own part, then of the others'.
    fn pieces(&self, job: Job, worker: i32) {
        let workers = self.next.len();
        for owner in (0..workers).map(|step| (worker as usize + step) % workers) {
            let part = self.part(job.extent, owner);
            // Half of what is left, as long as that is more than a piece ("Guided Self-Scheduling", IEEE Transactions on Computers,
            // 1987).
            let end_of = |begin: i64| (begin + job.piece.max((part.end - begin) / 2)).min(part.end);
            let take = |begin: i64| (begin < part.end).then(|| end_of(begin));
            while let Ok(begin) = self.next[owner].0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                let end = end_of(begin);
                // SAFETY: the body may be called for any piece from any thread, with worker numbers that differ between
                // threads; `arg` lives until `run` returns, which waits for every worker.
                unsafe { (job.body)(job.arg, begin, end, worker) }
            }
        }
    }
}

/// `parallel_for` of the ABI.
unsafe extern "C" fn parallel_for(this: *mut c_void, extent: i64, body: Body, arg: *mut c_void) {
    // SAFETY: `this` comes from `as_parallel`, and whoever holds a `Parallel` keeps the pool alive.
    let pool = unsafe { &*this.cast::<ThreadPool>().cast_const() };
    pool.run(extent, body, arg);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn count(arg: *mut c_void, begin: i64, end: i64, _worker: i32) {
        // SAFETY: the test passes a slice of counters as long as the extent.
        let hits = unsafe { &*arg.cast::<[AtomicI64; 1000]>() };
        for i in begin..end {
            hits[i as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_iteration_runs_once() {
        for threads in [1, 2, 5] {
            let pool = ThreadPool::new(threads).expect("threads");
            for round in 0..200i64 {
                let hits: [AtomicI64; 1000] = std::array::from_fn(|_| AtomicI64::new(0));
                let extent = (round * 5).min(1000);
                pool.run(extent, count, std::ptr::from_ref(&hits).cast_mut().cast());
                for (i, h) in hits.iter().enumerate() {
                    assert_eq!(h.load(Ordering::Relaxed), i64::from((i as i64) < extent));
                }
            }
        }
    }
}
