//! Each file of `tests/cases` is a graph; its first line names the passes to run. The text before and after is a snapshot,
//! and both must compute the same. `INSTA_UPDATE=always` accepts new results.

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use sparsec_passes::{Event, find_pass, run_passes};

#[test]
fn every_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let passes = text.lines().next().and_then(|line| line.strip_prefix("// passes: "));
        let passes = passes.unwrap_or_else(|| panic!("{name}: the first line is `// passes: NAME, ...`"));
        let passes: Vec<_> = passes.split(", ").map(|pass| find_pass(pass).unwrap()).collect();

        let before = sparsec_graph::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        sparsec_graph::verify(&before).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let mut after = before.clone();
        let mut log = String::new();
        run_passes(&mut after, &passes, &mut |event| {
            if let Event::After { pass, stats, .. } = event {
                log += &format!("{}: {} changed {}\n", pass.name, stats.changed, stats.notes.join("; "));
            }
            ControlFlow::Continue(())
        })
        .unwrap_or_else(|e| panic!("{name}: {e}"));
        insta::assert_snapshot!(name.clone(), format!("{before}\n{log}\n{after}"));
        for seed in [1, 2] {
            common::assert_equivalent(&before, &after, seed).unwrap_or_else(|e| panic!("{name}: {e}"));
        }

        // What a pass has done it does not do again.
        for pass in &passes {
            let mut again = after.clone();
            (pass.run)(&mut again).unwrap();
            assert_eq!(again.to_string(), after.to_string(), "{name}: `{}` is not idempotent", pass.name);
        }
    }
}
