//! `tests/onnx_node_tests.toml`: cases that are known not to pass, by reason.
//!
//! One case a line, so that changes which make different cases pass merge without conflicts.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Report;

/// The head of the file for a simulated GPU.
pub const HEAD_SIMULATED: &str = "\
# Cases of ONNX's operator tests that do not pass compiled for a GPU (sm_80) and run on a simulated one, by reason; written by
# `cargo xtask node-tests --simulate --update`. `interpreted` are those that the graph interpreter passes, `neither` those
# that it does not pass either. All other cases pass in both ways.
";

/// The head of the file.
pub const HEAD: &str = "\
# Cases of ONNX's operator tests that do not pass natively compiled, by reason; written by `cargo xtask node-tests --update`.
# `interpreted` are those that the graph interpreter passes, `neither` those that it does not pass either, and `compiled`
# those that pass compiled only. All other cases pass in both ways.
";

/// How a case is known to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Passes compiled and interpreted.
    Both,
    /// Passes interpreted only.
    Interpreted,
    /// Passes compiled only.
    Compiled,
    /// Does not pass.
    Neither,
}

impl Standing {
    /// The standing of a case that was run; of one that was only interpreted, what that and the list tell.
    #[must_use]
    pub fn of(report: &Report, known: Standing) -> Standing {
        let compiled = match &report.native {
            Some(native) => native.passed(),
            None => matches!(known, Standing::Both | Standing::Compiled),
        };
        match (compiled, report.interpreted.passed()) {
            (true, true) => Standing::Both,
            (true, false) => Standing::Compiled,
            (false, true) => Standing::Interpreted,
            (false, false) => Standing::Neither,
        }
    }

    /// What that means, for a person.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Standing::Both => "passes",
            Standing::Interpreted => "passes in the interpreter only",
            Standing::Compiled => "passes compiled only",
            Standing::Neither => "does not pass",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(default)]
    interpreted: Vec<String>,
    #[serde(default)]
    compiled: Vec<String>,
    #[serde(default)]
    neither: Vec<String>,
}

/// Cases that do not pass in both ways, with how they do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(BTreeMap<String, Standing>);

impl List {
    /// Reads the file's text.
    ///
    /// # Errors
    /// Where it is not well-formed, or names a case twice.
    pub fn parse(text: &str) -> Result<List, String> {
        let groups: BTreeMap<String, Group> = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut list = BTreeMap::new();
        for group in groups.into_values() {
            let kinds = [
                (group.interpreted, Standing::Interpreted),
                (group.compiled, Standing::Compiled),
                (group.neither, Standing::Neither),
            ];
            for (case, standing) in kinds.into_iter().flat_map(|(cases, s)| cases.into_iter().map(move |c| (c, s))) {
                if list.insert(case.clone(), standing).is_some() {
                    return Err(format!("`{case}` is listed twice"));
                }
            }
        }
        Ok(List(list))
    }

    /// How a case is known to do.
    #[must_use]
    pub fn standing(&self, case: &str) -> Standing {
        self.0.get(case).copied().unwrap_or(Standing::Both)
    }

    /// Listed cases that there are none of.
    #[must_use]
    pub fn unknown(&self, cases: &[String]) -> Vec<&str> {
        self.0.keys().filter(|case| !cases.contains(case)).map(String::as_str).collect()
    }
}

/// The file's text for these reports, which are those of all cases, run in both ways.
#[must_use]
pub fn print(reports: &[Report], head: &str) -> String {
    let mut groups: BTreeMap<&str, [Vec<&str>; 3]> = BTreeMap::new();
    for report in reports {
        let native = report.native.as_ref().map_or("", |n| n.group());
        let (kind, reason) = match Standing::of(report, Standing::Both) {
            Standing::Both => continue,
            Standing::Interpreted => (0, native),
            Standing::Compiled => (1, report.interpreted.group()),
            Standing::Neither => (2, native),
        };
        groups.entry(reason).or_default()[kind].push(&report.case);
    }
    let mut text = head.to_owned();
    for (reason, kinds) in &groups {
        text += &format!("\n[{}]\n", quoted(reason));
        for (kind, cases) in ["interpreted", "compiled", "neither"].iter().zip(kinds) {
            if cases.is_empty() {
                continue;
            }
            let lines: Vec<String> = cases.iter().map(|case| format!("    {},\n", quoted(case))).collect();
            text += &format!("{kind} = [\n{}]\n", lines.concat());
        }
    }
    text
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(plain).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Outcome;

    fn report(case: &str, native: bool, interpreted: bool) -> Report {
        let outcome = |passed| match passed {
            true => Outcome::Passed { bound: Vec::new() },
            false => Outcome::Failed { group: "a \"reason\"".to_owned(), detail: String::new() },
        };
        Report {
            case: case.to_owned(),
            native: Some(outcome(native)),
            interpreted: outcome(interpreted),
            subject: None,
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        let reports = [
            report("node/a", true, true),
            report("node/b", false, true),
            report("node/c", true, false),
            report("node/d", false, false),
        ];
        let text = print(&reports, HEAD);
        let list = List::parse(&text).expect("the text is well-formed");
        for report in &reports {
            assert_eq!(list.standing(&report.case), Standing::of(report, Standing::Both), "{text}");
        }
        assert_eq!(list.unknown(&["node/b".to_owned(), "node/c".to_owned()]), ["node/d"]);
        assert!(List::parse(&format!("{text}\n[\"again\"]\nneither = [\"node/d\"]")).is_err());
    }
}
