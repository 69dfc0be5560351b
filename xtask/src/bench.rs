//! `cargo xtask bench`: builds what the benchmark needs and hands over to `tests/models/bench.py`.

use crate::command::{Outcome, Task, target_dir};
use crate::python::{BENCH, DEEPSPARSE};
use crate::setup::{self, Purpose};

/// Arguments go to the script.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    setup::run(Purpose::Build)?;
    Task::cargo("building sparsec, and the program that times it")
        .args(["build", "--release", "--locked", "--package", "sparsec-cli", "--package", "sparsec-tests"])
        .args(["--bin", "sparsec", "--bin", "turns"])
        .run()?;
    let release = target_dir().join("release");
    let mut task = Task::new("the benchmark", BENCH.interpreter()?)
        .args(["-B", "tests/models/bench.py", "--sparsec"])
        .arg(release.join("sparsec"))
        .arg("--turns")
        .arg(release.join("turns"))
        .arg("--work")
        .arg(target_dir().join("bench"));
    // Its wheels are for some machines and some versions of Python only: where there is none, its column says so.
    task = match DEEPSPARSE.interpreter() {
        Ok(python) => task.arg("--deepsparse").arg(python),
        Err(why) => task.arg("--no-deepsparse").arg(why),
    };
    task.args(arguments).run()
}
