//! Reasons of failures, without what is particular to a case, so that cases with one cause stand together.

use sparsec::CompileError;
use sparsec::graph::interp::InterpError;
use sparsec::plan::{DeviceError, RunError};
use sparsec_onnx::{Fault, OnnxError, Place, Problem};

use super::Outcome;

/// Longest reason of a group, in characters.
const LONGEST: usize = 110;

/// A failure with its message as the reason, cut to a line.
#[must_use]
pub fn failed(group: &str, detail: impl std::fmt::Display) -> Outcome {
    let group = group.lines().next().unwrap_or_default().chars().take(LONGEST).collect::<String>().trim().to_owned();
    Outcome::Failed { group, detail: detail.to_string() }
}

/// A model that the reader refuses.
#[must_use]
pub fn unread(error: &OnnxError) -> Outcome {
    let group = match error {
        OnnxError::Unsupported { ops, .. } => {
            let mut names: Vec<&str> = ops.iter().map(|op| op.op.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            format!("unsupported operator: {}", names.join(", "))
        }
        OnnxError::Opset { version } => format!("reader: operator set {version}"),
        OnnxError::Invalid { problems } => problems.first().map_or_else(String::new, problem),
        other => format!("reader: {other}"),
    };
    failed(&group, error)
}

fn problem(problem: &Problem) -> String {
    match (&problem.place, &problem.fault) {
        (Place::Node { op, .. }, Fault::Unresolved { what, .. }) => format!("reader: {op}: {what} must be known"),
        (Place::Node { op, .. }, fault) => format!("reader: {op}: {fault}"),
        (_, fault) => format!("reader: {fault}"),
    }
}

/// A model that is not compiled.
#[must_use]
pub fn uncompiled(error: &CompileError) -> Outcome {
    let group = match error {
        CompileError::Read { source, .. } => return unread(source),
        CompileError::Lower { source, .. } => format!("lowering: {}", without_names(&source.to_string())),
        CompileError::Verify { stage, errors, .. } => {
            format!(
                "invalid after {stage}: {}",
                errors.first().map(|e| without_names(&e.to_string())).unwrap_or_default()
            )
        }
        CompileError::Pass { source, .. } => format!("pass: {}", without_names(&source.to_string())),
        CompileError::Rewrite { source, .. } => format!("rewriting: {}", without_names(&source.to_string())),
        CompileError::Emit { source, .. } => format!("backend: {}", without_names(&source.to_string())),
        CompileError::EmitPtx { source, .. } => format!("PTX: {}", without_names(&source.to_string())),
        CompileError::Plan { source, .. } => format!("plan: {}", without_names(&source.to_string())),
        other => without_names(&other.to_string()),
    };
    failed(&group, error)
}

/// A graph that can't be interpreted.
#[must_use]
pub fn uninterpreted(error: &InterpError) -> Outcome {
    failed(&format!("interpreter: {}", without_names(&error.to_string())), error)
}

/// A run that the simulated GPU ends.
#[must_use]
pub fn unsimulated(error: &RunError) -> Outcome {
    let group = match error {
        RunError::Device { source: DeviceError::Kernel { message, .. }, .. } => without_names(message),
        other => without_names(&other.to_string()),
    };
    failed(&format!("simulator: {group}"), error)
}

/// A message with what stands between backticks left out.
fn without_names(message: &str) -> String {
    message.split('`').step_by(2).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_the_cause_and_not_the_case() {
        assert_eq!(without_names("node `a` (conv): 3 axes"), "node _ (conv): 3 axes");
        let outcome = failed(&format!("{}\nmore", "x".repeat(300)), "all of it");
        assert_eq!(outcome.group().len(), LONGEST);
    }
}
