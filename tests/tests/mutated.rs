//! Damaged models through the library: an error or a result, never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sparsec::{CompileError, CompileOptions, ModelSource, Silent, Target};
use sparsec_onnx::proto;
use sparsec_tests::mutate::{Damage, mutate};
use sparsec_tests::{models, playground};

/// Files; `cargo xtask fuzz` makes more, through the command and under limits.
const COUNT: u64 = 66;

#[test]
fn damaged_models_are_errors_and_not_panics() {
    let victims: Vec<_> = models::all().into_iter().map(|(_, model)| model).collect();
    let options = CompileOptions::new(Target::new(None, "generic").expect("a target"));
    let mut refused = std::collections::BTreeMap::new();
    for seed in 0..COUNT {
        let (damage, bytes) = mutate(seed, &victims);
        let folder = tempfile::tempdir().expect("a folder");
        let file = playground(folder.path(), &bytes).expect("written");
        let result = catch_unwind(AssertUnwindSafe(|| {
            sparsec::compile(ModelSource::File(file), &options, &mut Silent).map(|_| ())
        }));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                assert!(!error.is_bug(), "{damage} {seed}: {error}");
                *refused.entry(damage).or_insert(0) += 1;
            }
            Err(_) => panic!("{damage} {seed} panicked"),
        }
    }
    // Damage that the reader can't overlook.
    for damage in [Damage::Truncate, Damage::InflateLength, Damage::ExternalPath] {
        let all = COUNT / Damage::ALL.len() as u64;
        assert!(refused.get(&damage).is_some_and(|&n| n + 1 >= all), "{damage}: {refused:?} of {all}");
    }
}

#[test]
fn whole_victims_compile() {
    let options = CompileOptions::new(Target::new(None, "generic").expect("a target"));
    for (name, model) in models::all() {
        let source = ModelSource::Bytes { name: name.into(), bytes: proto::encode(&model).into(), folder: None };
        let compiled = sparsec::compile(source, &options, &mut Silent);
        assert!(compiled.is_ok(), "{name}: {}", compiled.err().map(|e| e.to_string()).unwrap_or_default());
    }
}

#[test]
fn data_outside_of_the_folder_is_refused() {
    let victims = [models::convolutional()];
    let options = CompileOptions::new(Target::new(None, "generic").expect("a target"));
    let external = Damage::ALL.iter().position(|d| *d == Damage::ExternalPath).expect("listed") as u64;
    for i in 0..10 {
        let (_, bytes) = mutate(external + i * Damage::ALL.len() as u64, &victims);
        let folder = tempfile::tempdir().expect("a folder");
        let file = playground(folder.path(), &bytes).expect("written");
        let result = sparsec::compile(ModelSource::File(file), &options, &mut Silent);
        assert!(matches!(result, Err(CompileError::Read { .. })), "{i}");
    }
}
