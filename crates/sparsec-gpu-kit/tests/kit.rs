//! The whole kit, as a person runs it, on the simulator.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_kit_checks_times_and_reports_without_a_gpu() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.md");
    std::fs::write(&page, "before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n").expect("written");
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let output = Command::new("python3")
        .arg("-B")
        .arg(python.join("kit.py"))
        .args(["--simulate", "--every", "7", "--binary", env!("CARGO_BIN_EXE_sparsec-gpu-kit"), "--output"])
        .arg(folder.path().join("results"))
        .arg("--docs")
        .arg(&page)
        .output()
        .expect("Python is there");
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complaint}");

    let text = std::fs::read_to_string(folder.path().join("results/results.json")).expect("written");
    let results: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(results["simulated"], true);
    for (part, least) in [("checks", 40), ("layers", 8), ("networks", 6)] {
        let cases = results[part].as_array().expect("a list");
        assert!(cases.len() >= least, "{} {part}", cases.len());
        for case in cases {
            assert_eq!(case["passed"], true, "{case}");
            let most = if case["compute"] == "f32" { 1e-4 } else { 4e-2 };
            assert!(case["error"].as_f64().is_some_and(|e| e <= most), "{case}");
            let counted = part == "checks" || case["instructions"].as_u64().is_some_and(|n| n > 0);
            assert!(counted && case["microseconds"].is_null(), "{case}");
        }
    }
    // Without a GPU the others have reasons and no times.
    let peers = results["layers"][0]["peers"].as_object().expect("an object");
    assert!(peers.len() >= 6 && peers.values().all(Value::is_string), "{peers:?}");

    let page = std::fs::read_to_string(&page).expect("written");
    assert!(page.starts_with("before\n") && page.ends_with("after\n") && !page.contains("old"));
    assert!(page.contains("| bert.up | 96 x 32 x 1 |") && page.contains("Without times: cuBLAS f32 ("), "{page}");
}

#[test]
fn a_machine_without_a_gpu_is_told_so() {
    if sparsec_cuda::devices().is_ok_and(|devices| !devices.is_empty()) {
        // There is one, and what it computes is for a person to look at.
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut kit = Command::new(env!("CARGO_BIN_EXE_sparsec-gpu-kit"));
    let output = kit.arg("--output").arg(folder.path().join("results.json")).output().expect("starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && (complaint.contains("driver") || complaint.contains("device")), "{complaint}");
}
