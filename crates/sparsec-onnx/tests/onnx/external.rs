//! Weights in files beside the model.

use std::fs;
use std::path::Path;

use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{StringStringEntryProto, TensorProto};
use sparsec_onnx::{Options, read_file};

use crate::model::{FLOAT, Model};

fn model(entries: &[(&str, &str)]) -> Model {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
        ..Default::default()
    };
    let weight = TensorProto {
        name: "w".into(),
        dims: vec![2],
        data_type: FLOAT,
        data_location: DataLocation::EXTERNAL.into(),
        external_data: entries.iter().map(entry).collect(),
        ..Default::default()
    };
    Model::new(13).tensor(weight).output("w")
}

/// The weight, or the error, of a model in this directory.
fn read(dir: &Path, entries: &[(&str, &str)]) -> Result<Vec<f32>, String> {
    let path = dir.join("model.onnx");
    fs::write(&path, model(entries).bytes()).expect("the model is written");
    let graph = read_file(&path, &Options::default()).map_err(|e| e.to_string())?;
    let (_, constant) = graph.constants().next().expect("a constant");
    Ok(constant.data.as_f32().expect("an f32 weight").into_owned())
}

/// A directory `model` with weights 1, 2, 3 in a file, and a file beside the directory.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let bytes: Vec<u8> = [1f32, 2., 3.].iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::create_dir(dir.path().join("model")).expect("a directory");
    fs::write(dir.path().join("model/weights.bin"), &bytes).expect("a file");
    fs::write(dir.path().join("secret.bin"), &bytes).expect("a file");
    dir
}

#[test]
fn parts_of_files() {
    let dir = directory();
    let base = dir.path().join("model");
    assert_eq!(read(&base, &[("location", "weights.bin"), ("length", "8")]), Ok(vec![1., 2.]));
    assert_eq!(read(&base, &[("location", "./weights.bin"), ("offset", "4")]), Ok(vec![2., 3.]));
}

#[test]
fn parts_outside_of_files() {
    let dir = directory();
    let base = dir.path().join("model");
    let refused = |entries: &[(&str, &str)]| read(&base, entries).expect_err("the model is refused");
    assert!(refused(&[("location", "weights.bin"), ("offset", "13")]).contains("too few"));
    assert!(refused(&[("location", "weights.bin"), ("offset", "8"), ("length", "8")]).contains("too few"));
    assert!(refused(&[("location", "weights.bin"), ("length", "18446744073709551615")]).contains("too few"));
    assert!(refused(&[("location", "weights.bin"), ("offset", "-1")]).contains("is no size"));
    assert!(refused(&[("location", "weights.bin"), ("length", "4")]).contains("takes 8 bytes, but 4 are stored"));
    assert!(refused(&[("location", "nothing.bin")]).contains("cannot access"));
    assert!(refused(&[("location", ".")]).contains("not a regular file"));
    assert!(refused(&[]).contains("no location"));
}

#[test]
fn paths_out_of_the_directory() {
    let dir = directory();
    let base = dir.path().join("model");
    let absolute = dir.path().join("secret.bin");
    for location in ["../secret.bin", "./../secret.bin", "sub/../../secret.bin", "..\\secret.bin", ""] {
        let error = read(&base, &[("location", location)]).expect_err("the model is refused");
        assert!(error.contains("must be a relative path"), "{location}: {error}");
    }
    let error = read(&base, &[("location", &absolute.to_string_lossy())]).expect_err("the model is refused");
    assert!(error.contains("must be a relative path"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_out_of_the_directory() {
    let dir = directory();
    let base = dir.path().join("model");
    std::os::unix::fs::symlink("../secret.bin", base.join("link.bin")).expect("a link");
    std::os::unix::fs::symlink("weights.bin", base.join("inner.bin")).expect("a link");
    let error = read(&base, &[("location", "link.bin")]).expect_err("the model is refused");
    assert!(error.contains("a link leads out"), "{error}");
    assert_eq!(read(&base, &[("location", "inner.bin"), ("length", "8")]), Ok(vec![1., 2.]));
}

#[test]
fn models_that_are_no_files_have_nothing_beside_them() {
    assert!(model(&[("location", "weights.bin")]).error().contains("was not read from a file"));
}
