//! Counts by folder.

use std::collections::BTreeMap;
use std::fmt;

use super::case::FOLDERS;
use super::{Outcome, Report};

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    passed: usize,
    bound: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed { bound } => {
                self.passed += 1;
                self.bound += usize::from(!bound.is_empty());
            }
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { passed, bound, failed, skipped } = self;
        write!(
            f,
            "{passed} passed (of these {bound} with inputs bound at compile time), {failed} failed, {skipped} skipped"
        )
    }
}

/// Counts of some reports, by folder and by way of running; its text is a table.
#[derive(Clone, Debug, Default)]
pub struct Summary(BTreeMap<String, (Counts, Counts)>);

impl Summary {
    /// Counts.
    #[must_use]
    pub fn of(reports: &[Report]) -> Summary {
        let mut summary = Summary::default();
        for report in reports {
            let folder = report.case.split('/').next().unwrap_or_default().to_owned();
            let (native, interpreted) = summary.0.entry(folder).or_default();
            report.native.iter().for_each(|outcome| native.add(outcome));
            interpreted.add(&report.interpreted);
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for folder in FOLDERS {
            let Some((native, interpreted)) = self.0.get(folder) else { continue };
            if native.passed + native.failed + native.skipped > 0 {
                writeln!(f, "{folder:18} native:      {native}")?;
            }
            writeln!(f, "{folder:18} interpreted: {interpreted}")?;
        }
        Ok(())
    }
}

/// Cases that do not pass natively, grouped by reason, the largest group first.
#[must_use]
pub fn failures(reports: &[Report]) -> String {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for report in reports {
        let outcome = report.native.as_ref().unwrap_or(&report.interpreted);
        if !outcome.passed() {
            let mark = if report.interpreted.passed() { " (passes interpreted)" } else { "" };
            let detail = match outcome {
                Outcome::Failed { detail, .. } => detail.replace('\n', " | "),
                _ => String::new(),
            };
            groups.entry(outcome.group()).or_default().push(format!("  {}{mark}: {detail}\n", report.case));
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, cases)| std::cmp::Reverse(cases.len()));
    groups.iter().map(|(reason, cases)| format!("{} x {reason}\n{}", cases.len(), cases.concat())).collect()
}
