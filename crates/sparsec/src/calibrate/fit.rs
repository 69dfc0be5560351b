//! Solves for the constants of the cost model.
//!
//! Each timed kernel says that the work that it does, weighted by the constants, takes as long as it was measured to.
//! There are more kernels than constants and no solution, so the sum of relative errors is made as small as it gets:
//! squares that are weighted anew in each round, so that in the end absolute errors count and an odd kernel does not
//! draw all others. No constant may be negative. Terms that come together can't be told apart, so each is drawn a little to
//! what is typical; one that no kernel has keeps its value.

use sparsec_rewrite::{Constants, Machine, Term, Work};

/// A kernel's work and how long it took.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What was run.
    pub label: String,
    /// What it does.
    pub work: Work,
    /// Median of its times.
    pub seconds: f64,
}

/// Weight of the wish that a constant is what is typical, against one kernel.
const INERTIA: f64 = 0.1;
/// Rounds of weighting.
const ROUNDS: usize = 20;
/// Steps along each constant in a round.
const SWEEPS: usize = 300;
/// Relative error from which on errors count by their size and not by its square.
const LINEAR_FROM: f64 = 0.1;

/// The constants that explain the samples best.
#[must_use]
pub fn fit(machine: &Machine, samples: &[Sample]) -> Constants {
    let samples: Vec<&Sample> = samples.iter().filter(|s| s.seconds > 0.0).collect();
    let occurs = |t: &Term| samples.iter().any(|s| s.work.count(*t) > 0.0);
    let terms: Vec<Term> = Term::ALL.iter().copied().filter(occurs).collect();
    // Row by row: what part of the measured time each term explains at its typical cost.
    let shares: Vec<Vec<f64>> = samples
        .iter()
        .map(|s| {
            let cycles = s.seconds * machine.ghz * 1e9;
            terms.iter().map(|&t| s.work.count(t) * t.typical() / cycles).collect()
        })
        .collect();
    let n = terms.len();
    let mut scale = vec![1.0; n];
    let mut weights = vec![1.0; samples.len()];
    for _ in 0..ROUNDS {
        let (mut normal, mut right) = (vec![vec![0.0; n]; n], vec![0.0; n]);
        for (row, w) in shares.iter().zip(&weights) {
            for (i, a) in row.iter().enumerate().filter(|(_, a)| **a != 0.0) {
                right[i] += w * a;
                for (j, b) in row.iter().enumerate() {
                    normal[i][j] += w * a * b;
                }
            }
        }
        for _ in 0..SWEEPS {
            for t in 0..n {
                let others: f64 = (0..n).filter(|&u| u != t).map(|u| normal[t][u] * scale[u]).sum();
                scale[t] = ((right[t] - others + INERTIA) / (normal[t][t] + INERTIA)).max(0.0);
            }
        }
        for (row, w) in shares.iter().zip(&mut weights) {
            let predicted: f64 = row.iter().zip(&scale).map(|(a, s)| a * s).sum();
            *w = 1.0 / (predicted - 1.0).abs().max(LINEAR_FROM);
        }
    }
    let mut constants = machine.constants.clone();
    for (&term, scale) in terms.iter().zip(&scale) {
        constants.set(term, term.typical() * scale);
    }
    constants
}

/// The median of |predicted - measured| / measured.
#[must_use]
pub fn median_error(machine: &Machine, samples: &[Sample]) -> f64 {
    let mut errors: Vec<f64> = samples
        .iter()
        .filter(|s| s.seconds > 0.0)
        .map(|s| (machine.seconds(&s.work) / s.seconds - 1.0).abs())
        .collect();
    errors.sort_by(f64::total_cmp);
    errors.get(errors.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of a machine whose constants are known.
    fn samples(machine: &Machine, truth: &Constants) -> Vec<Sample> {
        let sample = |i: usize| {
            let mut work = Work::default();
            for (place, term) in [Term::RowFma, Term::RowGroup, Term::PackVector, Term::Launch].into_iter().enumerate()
            {
                work.add(term, ((i * (2 * place + 3) + place) % 17) as f64 * [5e3, 1e2, 1e3, 1.0][place]);
            }
            let seconds = truth.cycles(&work) / (machine.ghz * 1e9);
            Sample { label: i.to_string(), work, seconds }
        };
        (1..60).map(sample).collect()
    }

    #[test]
    fn constants_are_found_again() {
        let mut machine = Machine::for_target("x86-64-v4").expect("a known target");
        let start = machine.constants.clone();
        let mut truth = start.clone();
        truth.set(Term::Launch, 200.0);
        truth.set(Term::RowFma, 2.0);
        truth.set(Term::RowGroup, 55.0);
        truth.set(Term::PackVector, 1.0);
        let mut samples = samples(&machine, &truth);
        // An odd measurement does not matter.
        samples[7].seconds *= 10.0;
        let before = median_error(&machine, &samples);
        machine.constants = fit(&machine, &samples);
        assert!(median_error(&machine, &samples) < 0.02 && before > 0.2, "{:?}", machine.constants);
        assert!((machine.constants.get(Term::RowFma) - 2.0).abs() < 0.1, "{:?}", machine.constants);
        assert!((machine.constants.get(Term::PackVector) - 1.0).abs() < 0.1, "{:?}", machine.constants);
        // Nothing was said about the others.
        assert_eq!(machine.constants.get(Term::NmFma), start.get(Term::NmFma));
        assert_eq!(fit(&machine, &[]), machine.constants);
    }
}
