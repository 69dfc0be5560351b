//! Which candidates are timed, and which one wins.

use std::collections::BTreeMap;
use std::time::Duration;

use sparsec_graph::{Format, Graph, Node, Op, ValueId};
use sparsec_rewrite::Decision;

use super::cache::{self, Outcome};
use super::key::{key, kind};
use super::timing::{Candidate, schedules, time};
use super::{Timing, TuneOptions, TunedLayer, Tuning, TuningError};
use crate::pipeline::Rewriting;
use crate::{CompileError, CompileOptions, Observer};

/// Formats that are predicted to take longer, by this factor, than the best one are not timed; dense always is.
const NEAR: f64 = 1.6;
/// Schedules of the format that was predicted to be the best, and of others.
const SCHEDULES: usize = 10;
const SCHEDULES_OF_OTHERS: usize = 3;
/// How much faster than the compiler's own choice a candidate must be: less is noise.
const GAIN: f64 = 0.97;
/// The longest time for one problem, in seconds.
const LONGEST: f64 = 1.0;

/// A layer to be tuned.
struct Problem<'a> {
    node: &'a Node,
    weight: ValueId,
    decision: &'a Decision,
    /// The choice of the cost model first.
    formats: Vec<Format>,
    key: String,
}

/// Finds the fastest format and schedule for each layer of a model, by the cache where it knows them, else by the clock.
pub(crate) fn tune(
    rewriting: &Rewriting,
    how: &TuneOptions,
    options: &CompileOptions,
    observer: &mut dyn Observer,
) -> Result<Tuning, CompileError> {
    let problems = problems(rewriting, options);
    let keys = problems.iter().map(|p| p.key.as_str());
    let mut known = match &how.cache {
        Some(path) => match cache::read(path, keys) {
            Err(error @ TuningError::Busy { .. }) => {
                observer.warn(&format!("{error}: everything is timed"));
                BTreeMap::new()
            }
            other => other?,
        },
        None => BTreeMap::new(),
    };
    known.retain(|key, outcome| problems.iter().any(|p| p.key == *key && p.format_of(outcome).is_some()));
    let mut waiting: Vec<&Problem<'_>> = Vec::new();
    for problem in problems.iter().filter(|p| !known.contains_key(&p.key)) {
        if !waiting.iter().any(|w| w.key == problem.key) {
            waiting.push(problem);
        }
    }
    let share = (how.budget.as_secs_f64() / waiting.len().max(1) as f64).min(LONGEST);
    let mut measured = BTreeMap::new();
    for (i, problem) in waiting.iter().enumerate() {
        observer.progress(i, waiting.len(), &problem.node.name);
        let outcome = problem.measure(rewriting, Duration::from_secs_f64(share), options)?;
        measured.insert(problem.key.clone(), outcome);
    }
    if let Some(path) = how.cache.as_ref().filter(|_| !measured.is_empty()) {
        // What was measured is good without being kept.
        if let Err(error) = cache::write(path, &measured) {
            observer.warn(&format!("measurements are not kept: {error}"));
        }
    }
    known.append(&mut measured);
    let mut tuning = Tuning::new(options.target.name());
    let mut stored: BTreeMap<String, Format> = BTreeMap::new();
    for problem in &problems {
        let Some(outcome) = known.get(&problem.key) else { continue };
        let Some(format) = problem.format_of(outcome) else { continue };
        // A weight that several layers share is stored as the first one wants it, and the others cut it as they would.
        let (tensor, node) = (problem.decision.tensor.clone(), problem.node.name.clone());
        let shared = stored.entry(tensor.clone()).or_insert_with(|| format.clone());
        if *shared != *format {
            tuning.layers.push(TunedLayer {
                node,
                tensor,
                format: shared.to_string(),
                schedule: None,
                timings: Vec::new(),
            });
            continue;
        }
        let renamed = |of: &str| if of == outcome.format { format.to_string() } else { of.to_owned() };
        let timings = outcome.timings.iter().map(|t| Timing { format: renamed(&t.format), ..t.clone() }).collect();
        let (format, schedule) = (format.to_string(), outcome.schedule.clone());
        tuning.layers.push(TunedLayer { node, tensor, format, schedule, timings });
    }
    Ok(tuning)
}

/// The layers with a constant weight, in graph order.
fn problems<'a>(rewriting: &'a Rewriting, options: &CompileOptions) -> Vec<Problem<'a>> {
    let mut names = BTreeMap::new();
    count_names(&rewriting.graph, &mut names);
    let problem = |decision: &'a Decision| {
        // Decisions go by name.
        let node = rewriting.graph.nodes().map(|(_, node)| node).find(|node| node.name == decision.node)?;
        let weight = *node.operands.get(usize::from(matches!(node.op, Op::Conv(_))))?;
        if names.get(node.name.as_str()) != Some(&1) || rewriting.graph.constant(weight).is_none() {
            return None;
        }
        let formats = formats(decision);
        let key = key(&rewriting.graph, node, decision, &formats, (&rewriting.nominal, options));
        Some(Problem { node, weight, decision, formats, key })
    };
    rewriting.report.decisions.iter().filter_map(problem).collect()
}

/// How often each name stands in a graph and in the graphs within it, which are not tuned.
fn count_names<'a>(graph: &'a Graph, names: &mut BTreeMap<&'a str, usize>) {
    for (_, node) in graph.nodes() {
        *names.entry(&node.name).or_default() += 1;
        node.op.graphs().into_iter().for_each(|inner| count_names(inner, names));
    }
}

/// The formats that are timed: the choice, those that are predicted to be nearly as fast, and dense. Of formats with the
/// same kernel the best one.
fn formats(decision: &Decision) -> Vec<Format> {
    let best = decision.candidates.first().map_or(0.0, |c| c.seconds);
    let near = decision.candidates.iter().filter(|c| c.seconds <= NEAR * best || c.format == Format::Dense);
    let mut formats = vec![decision.chosen.clone()];
    for candidate in near {
        if !formats.iter().any(|known| kind(known) == kind(&candidate.format)) {
            formats.push(candidate.format.clone());
        }
    }
    formats
}

impl Problem<'_> {
    /// The format of an outcome, as this weight has it.
    fn format_of(&self, outcome: &Outcome) -> Option<&Format> {
        let wanted: Format = outcome.format.parse().ok()?;
        self.formats.iter().find(|format| kind(format) == kind(&wanted))
    }

    fn measure(
        &self,
        rewriting: &Rewriting,
        budget: Duration,
        options: &CompileOptions,
    ) -> Result<Outcome, CompileError> {
        let all = schedules(&rewriting.graph, self.node, self.weight, &self.formats, (&rewriting.nominal, options))?;
        let mut candidates: Vec<Candidate> = Vec::new();
        for (i, (format, schedules)) in self.formats.iter().zip(all).enumerate() {
            let most = if i == 0 { SCHEDULES } else { SCHEDULES_OF_OTHERS };
            let with = |schedule| Candidate { format: format.clone(), schedule };
            if schedules.is_empty() {
                candidates.push(with(None));
            }
            candidates.extend(schedules.into_iter().take(most).map(|schedule| with(Some(schedule))));
        }
        let seconds = match candidates.len() {
            1 => vec![],
            _ => time(&rewriting.graph, self.node, self.weight, &candidates, (&rewriting.nominal, options, budget))?,
        };
        let own = seconds.first().copied().unwrap_or(0.0);
        let fastest = (0..seconds.len()).min_by(|&a, &b| seconds[a].total_cmp(&seconds[b]));
        let winner = &candidates[fastest.filter(|&i| seconds[i] < GAIN * own).unwrap_or(0)];
        let text = |c: &Candidate| (c.format.to_string(), c.schedule.map(|s| s.to_string()));
        let timings = candidates.iter().zip(&seconds).map(|(candidate, seconds)| {
            let (format, schedule) = text(candidate);
            Timing { format, schedule, us: (seconds * 1e8).round() / 1e2 }
        });
        let timings = timings.collect();
        let (format, schedule) = text(winner);
        Ok(Outcome { format, schedule, timings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Silent, Target};

    fn model(m: usize, density: f64, name: &str) -> String {
        format!(
            r#"graph @g {{
  input %0 "x": f32[64, 40]
  const %1 "{name}": f32[{m}, 64] random(seed=5, density={density:?})
  %2 "{name} product" = contract "mk,kn->mn" (%1, %0)
  output "y" = %2
}}"#
        )
    }

    fn options(cpu: &str) -> CompileOptions {
        CompileOptions::new(Target::new(Some("x86_64-unknown-linux-gnu"), cpu).expect("a target"))
    }

    fn keys(text: &str, options: &CompileOptions) -> Vec<String> {
        let graph = sparsec_graph::parse(text).expect("a graph");
        let rewriting = crate::rewrite("g", graph, options, &mut Silent).expect("rewritten");
        problems(&rewriting, options).into_iter().map(|p| p.key).collect()
    }

    #[test]
    fn keys_tell_problems_apart() {
        let v4 = options("x86-64-v4");
        let one = keys(&model(32, 0.1, "w"), &v4);
        assert_eq!(one.len(), 1);
        assert_eq!(one, keys(&model(32, 0.1, "other"), &v4), "names don't matter");
        for (what, other) in [
            ("shape", keys(&model(48, 0.1, "w"), &v4)),
            ("density", keys(&model(32, 0.3, "w"), &v4)),
            ("tokens", keys(&model(32, 0.1, "w").replace("64, 40", "64, 41"), &v4)),
            ("cpu", keys(&model(32, 0.1, "w"), &options("x86-64-v3"))),
        ] {
            assert!(other.len() == 1 && other != one, "{what}: {other:?}");
        }
        assert!(one[0].contains(env!("CARGO_PKG_VERSION")) && one[0].contains("unstructured"), "{}", one[0]);
    }

    /// Counts what is timed.
    #[derive(Default)]
    struct Count(usize);

    impl Observer for Count {
        fn progress(&mut self, _: usize, _: usize, _: &str) {
            self.0 += 1;
        }
    }

    #[test]
    fn what_the_cache_knows_is_not_timed_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Some(folder.path().join("t.redb"));
        let how = TuneOptions { cache, budget: Duration::from_millis(20) };
        let mut options = CompileOptions::new(Target::host().expect("this machine"));
        options.tune = Some(how);
        let tuned = |options: &CompileOptions| {
            let graph = sparsec_graph::parse(&model(32, 0.1, "w")).expect("a graph");
            let mut count = Count::default();
            let rewriting = crate::rewrite("g", graph, options, &mut count).expect("tuned");
            (rewriting.tuning.expect("a tuning"), rewriting.inspection, count.0)
        };
        let (first, inspection, timed) = tuned(&options);
        assert_eq!(timed, 1);
        let layer = &first.layers[0];
        assert!(layer.timings.len() > 3 && layer.us().is_some_and(|us| us > 0.0), "{layer:?}");
        assert!(inspection.weights[0].reason.starts_with("tuned") && inspection.weights[0].measured_ms.is_some());
        assert!(inspection.weights[0].candidates.iter().any(|c| c.measured_ms.is_some()));
        let (second, _, timed) = tuned(&options);
        assert_eq!((second, timed), (first.clone(), 0));
        // The same decisions from a file give the same code.
        let path = folder.path().join("tuning.json");
        first.write(&path).expect("written");
        let code = |options: &CompileOptions| {
            let graph = sparsec_graph::parse(&model(32, 0.1, "w")).expect("a graph");
            crate::compile_graph("g", &graph, options).expect("compiles").code.object().expect("machine code").to_vec()
        };
        let by_file = CompileOptions { tune: None, tuning: Some(Tuning::read(&path).expect("read")), ..options };
        assert_eq!(code(&by_file), code(&CompileOptions { tuning: Some(first), ..by_file.clone() }));
    }

    #[test]
    fn decisions_that_do_not_fit_are_refused() {
        let options = options("x86-64-v3");
        let compiled = |node: &str, tensor: &str, format: &str, schedule: Option<&str>| {
            let (node, tensor, format) = (node.to_owned(), tensor.to_owned(), format.to_owned());
            let layer = TunedLayer { node, tensor, format, schedule: schedule.map(str::to_owned), timings: Vec::new() };
            let tuning = Some(Tuning { layers: vec![layer], ..Tuning::new("any") });
            let graph = sparsec_graph::parse(&model(32, 0.1, "w")).expect("a graph");
            let options = CompileOptions { tuning, ..options.clone() };
            crate::compile_graph("g", &graph, &options).map(|_| ()).map_err(|e| e.to_string())
        };
        let tile = "tile(rows=1,vectors=2,channels=64,flight=2)";
        compiled("w product", "w", "hyb<128,1,2>", Some(tile)).expect("fits");
        let error = compiled("w product", "v", "csr", None).expect_err("no such weight");
        assert!(error.contains("`v`"), "{error}");
        let error = compiled("w product", "w", "nm<2,4>", None).expect_err("the weight is not 2:4");
        assert!(error.contains("nm<2,4>"), "{error}");
        let error = compiled("elsewhere", "w", "dense", Some(tile)).expect_err("no such node");
        assert!(error.contains("elsewhere"), "{error}");
        let error = compiled("w product", "w", "hyb<128,1,2>", Some("tile(rows=9,vectors=2,channels=64,flight=2)"));
        assert!(error.expect_err("no such tile").contains("is to have tile(rows=9"));
    }
}
