//! `docs/operators.md`: what the reader's table of operators and ONNX's cases say of each.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;

/// The head of the file.
const HEAD: &str = "\
# Operators

Written by `cargo xtask node-tests --update`, and compared with what a run of all cases finds. Operator sets of the standard \
domain are read from version {first} to {last}; where an operator changed its form, handlers go by the version.

*Becomes* is what the operator is in the graph ([ir.md](ir.md)): `loops` are kernels of `sparsec-loops`, all others operators \
of `sparsec-graph`, one or several; integers that shapes are computed from leave none. *Sets* are the versions of the cases \
that pass, *cases* how many of ONNX's cases of this one operator pass compiled, of how many. An operator without cases \
of its own is tested in `sparsec-onnx/tests` or in networks.
";

#[derive(Default)]
struct Row {
    becomes: BTreeSet<String>,
    sets: BTreeSet<i64>,
    passed: usize,
    cases: usize,
}

/// The text of the file for the reports of all cases.
#[must_use]
pub fn print(reports: &[Report]) -> String {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let supported: BTreeSet<(String, String)> =
        sparsec_onnx::supported_ops().map(|(domain, op)| (domain.to_owned(), op.to_owned())).collect();
    for key in &supported {
        rows.entry(key.clone()).or_default();
    }
    for report in reports {
        let Some(subject) = &report.subject else { continue };
        let row = rows.entry((subject.domain.clone(), subject.operator.clone())).or_default();
        row.cases += 1;
        row.becomes.extend(subject.becomes.iter().cloned());
        if report.native.as_ref().is_some_and(|native| native.passed()) {
            row.passed += 1;
            row.sets.insert(subject.opset);
        }
    }
    let sets = sparsec_onnx::operator_sets();
    let mut text = HEAD.replace("{first}", &sets.start().to_string()).replace("{last}", &sets.end().to_string());
    text += "\n| operator | domain | becomes | sets | cases |\n|---|---|---|---|---|\n";
    for (key, row) in rows.iter().filter(|(key, _)| supported.contains(key)) {
        let (domain, operator) = key;
        let becomes: Vec<String> = row.becomes.iter().map(|op| format!("`{op}`")).collect();
        text += &format!("| {operator} | {domain} | {} | {} | {} |\n", becomes.join(", "), span(&row.sets), cases(row));
    }
    text += "\n## Not read\n\nOperators of ONNX's cases that have no handler.\n\n| operator | domain | cases |\n|---|---|---|\n";
    for ((domain, operator), row) in rows.iter().filter(|(key, _)| !supported.contains(key)) {
        text += &format!("| {operator} | {domain} | {} |\n", row.cases);
    }
    text
}

fn cases(row: &Row) -> String {
    if row.cases == 0 { String::new() } else { format!("{} of {}", row.passed, row.cases) }
}

/// `7` or `7 to 13`.
fn span(sets: &BTreeSet<i64>) -> String {
    match (sets.first(), sets.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(only), _) => only.to_string(),
        _ => String::new(),
    }
}
