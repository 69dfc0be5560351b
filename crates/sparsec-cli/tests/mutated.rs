//! Damaged models through the command, under limits on time and memory: exit code 1, or 0 where they are harmless.

use sparsec_tests::limited::{self, Ending};
use sparsec_tests::mutate::mutate;
use sparsec_tests::{models, playground};

#[test]
fn damaged_models_end_with_an_error_within_limits() {
    let victims: Vec<_> = models::all().into_iter().map(|(_, model)| model).collect();
    for seed in 1000..1022 {
        let (damage, bytes) = mutate(seed, &victims);
        let folder = tempfile::tempdir().expect("a folder");
        let model = playground(folder.path(), &bytes).expect("written");
        let output = folder.path().join("out");
        let arguments = ["compile".as_ref(), model.as_os_str(), "--output".as_ref(), output.as_os_str()];
        let outcome = limited::run(env!("CARGO_BIN_EXE_sparsec"), &arguments).expect("starts");
        let refused = outcome.ending == Ending::Code(1);
        assert!(refused || outcome.ending == Ending::Code(0), "{damage} {seed}: {outcome:?}");
        assert_eq!(refused, !output.join("libmodel.a").exists(), "{damage} {seed}: {outcome:?}");
        assert_eq!(refused, !outcome.errors.is_empty(), "{damage} {seed}: {outcome:?}");
    }
}
