//! Many runs, one seed each, on some threads: every run is single-threaded, and results come in the order of the seeds.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use super::{Report, Simulation};

impl Simulation {
    /// Runs this simulation with `runs` seeds, beginning with its own, on so many threads, with the default workload.
    /// `each` sees the reports in the order of their seeds and says whether to go on.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use nirantar::simulate::Simulation;
    ///
    /// let mut held = 0;
    /// Simulation::new(1).days(1).run_many(4, NonZeroUsize::MIN, |report| {
    ///     held += u32::from(report.is_ok());
    ///     report.is_ok()
    /// });
    /// assert_eq!(held, 4);
    /// ```
    pub fn run_many(&self, runs: u64, threads: NonZeroUsize, mut each: impl FnMut(Report) -> bool) {
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let (reports, waiting) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..threads.get() {
                let (reports, next, stop) = (reports.clone(), &next, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= runs {
                            return;
                        }
                        let report = self.with_seed(self.seed.wrapping_add(number)).run();
                        if reports.send((number, report)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(reports);
            let (mut early, mut due) = (BTreeMap::new(), 0);
            for (number, report) in waiting {
                early.insert(number, report);
                while let Some(report) = early.remove(&due) {
                    due += 1;
                    if !each(report) {
                        stop.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
    }
}
