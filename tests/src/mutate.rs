//! Damages models in the ways that files are damaged, by accident or on purpose.
//!
//! The same seed gives the same file. Most files that come out are invalid; some are valid by luck (a flipped bit of a
//! weight), so a reader may refuse or accept them, but may not crash, hang, or use memory that the file does not justify.

use std::fmt;

use bytes::Bytes;
use sparsec_demo::Random;
use sparsec_onnx::proto::{
    self, GraphProto, ModelProto, StringStringEntryProto, TensorProto, tensor_shape_proto, type_proto,
};

use crate::wire;

/// A way to damage a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// 1 to 16 bits are flipped, anywhere.
    FlipBits,
    /// 1 to 4 bits are flipped in lengths and integers.
    FlipNumbers,
    /// The end is missing.
    Truncate,
    /// A length says more than there is.
    InflateLength,
    /// An integer field has another value.
    ReplaceNumber,
    /// A stretch of bytes is removed, repeated, or moved.
    Splice,
    /// Extents of weights are absurd.
    WeightShape,
    /// Extents of inputs or outputs are absurd.
    PortShape,
    /// Attributes are absurd.
    Attributes,
    /// External data at a place where it may not be, or of a size that it does not have.
    ExternalPath,
    /// Values are used before they are defined, or twice defined.
    Wiring,
}

impl Damage {
    /// Every way.
    pub const ALL: [Damage; 11] = [
        Damage::FlipBits,
        Damage::FlipNumbers,
        Damage::Truncate,
        Damage::InflateLength,
        Damage::ReplaceNumber,
        Damage::Splice,
        Damage::WeightShape,
        Damage::PortShape,
        Damage::Attributes,
        Damage::ExternalPath,
        Damage::Wiring,
    ];
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Integers that have broken programs before.
const ABSURD: [i64; 14] = [
    -1,
    0,
    1,
    -7,
    3,
    127,
    65_537,
    i32::MAX as i64,
    i32::MIN as i64,
    1 << 31,
    1 << 40,
    i64::MAX,
    i64::MIN,
    i64::MAX / 4 + 1,
];

/// Paths that lead out of the model's folder, or nowhere.
const PATHS: [&str; 10] = [
    "/etc/passwd",
    "../escape.bin",
    "data/../../escape.bin",
    "./../escape.bin",
    "link-to-outside",
    "/dev/zero",
    "no-such-file.bin",
    "",
    "..",
    "a\u{0}b",
];

/// The damaged model number `seed`, made from one of `victims`, and how it was damaged.
#[must_use]
pub fn mutate(seed: u64, victims: &[ModelProto]) -> (Damage, Vec<u8>) {
    let mut random = Random::new(seed);
    let victim = victims[random.below(victims.len())].clone();
    // In turn rather than by chance, so that few files already contain every way.
    let damage = Damage::ALL[(seed % Damage::ALL.len() as u64) as usize];
    (damage, apply(damage, victim, &mut random))
}

fn apply(damage: Damage, mut model: ModelProto, random: &mut Random) -> Vec<u8> {
    let graph = model.graph.get_or_insert_default();
    match damage {
        Damage::WeightShape => weight_shape(graph, random),
        Damage::PortShape => port_shape(graph, random),
        Damage::Attributes => attributes(graph, random),
        Damage::ExternalPath => external_path(graph, random),
        Damage::Wiring => wiring(graph, random),
        Damage::FlipBits
        | Damage::FlipNumbers
        | Damage::Truncate
        | Damage::InflateLength
        | Damage::ReplaceNumber
        | Damage::Splice => {}
    }
    let mut bytes = proto::encode(&model);
    match damage {
        Damage::FlipBits => {
            for _ in 0..=random.below(16) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
        Damage::FlipNumbers => {
            let numbers = wire::numbers(&bytes);
            for _ in 0..=random.below(4) {
                let at = numbers[random.below(numbers.len())].bytes.start;
                bytes[at] ^= 1 << random.below(8);
            }
        }
        Damage::Truncate => bytes.truncate(random.below(bytes.len())),
        Damage::InflateLength | Damage::ReplaceNumber => {
            let mut numbers = wire::numbers(&bytes);
            numbers.retain(|n| n.is_length == (damage == Damage::InflateLength));
            let number = numbers.swap_remove(random.below(numbers.len()));
            let value = if random.below(2) == 0 { absurd(random) } else { random.below(1 << 20) as i64 };
            bytes.splice(number.bytes, wire::encode_varint(value as u64));
        }
        Damage::Splice => {
            let start = random.below(bytes.len());
            let end = (start + 1 + random.below(64)).min(bytes.len());
            let piece: Vec<u8> = bytes[start..end].to_vec();
            match random.below(3) {
                0 => drop(bytes.drain(start..end)),
                1 => drop(bytes.splice(start..start, piece)),
                _ => {
                    bytes.drain(start..end);
                    let to = random.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        _ => {}
    }
    bytes
}

fn absurd(random: &mut Random) -> i64 {
    ABSURD[random.below(ABSURD.len())]
}

fn absurd_shape(shape: &mut Vec<i64>, random: &mut Random) {
    match random.below(4) {
        0 => shape.resize(1 + random.below(40), absurd(random)),
        1 => shape.clear(),
        _ if shape.is_empty() => shape.push(absurd(random)),
        _ => {
            let at = random.below(shape.len());
            shape[at] = absurd(random);
        }
    }
}

fn weight_shape(graph: &mut GraphProto, random: &mut Random) {
    if let Some(sparse) = graph.sparse_initializer.first_mut()
        && random.below(2) == 0
    {
        match random.below(3) {
            0 => absurd_shape(&mut sparse.dims, random),
            1 => {
                let indices = &mut sparse.indices.get_or_insert_default().int64_data;
                let at = random.below(indices.len());
                indices[at] = absurd(random);
            }
            _ => absurd_shape(&mut sparse.values.get_or_insert_default().dims, random),
        }
        return;
    }
    let count = graph.initializer.len();
    let tensor = &mut graph.initializer[random.below(count)];
    absurd_shape(&mut tensor.dims, random);
    if random.below(4) == 0 {
        tensor.data_type = Some(random.below(30) as i32);
    }
    if random.below(4) == 0 {
        tensor.raw_data = None;
    }
}

fn port_shape(graph: &mut GraphProto, random: &mut Random) {
    let ports = if random.below(4) == 0 { &mut graph.output } else { &mut graph.input };
    let port = ports.first_mut().and_then(|p| p.r#type.as_mut()).and_then(|t| t.value.as_mut());
    let Some(type_proto::Value::TensorType(tensor)) = port else { return };
    let dims = &mut tensor.shape.get_or_insert_default().dim;
    let extent = |value| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(value)),
        ..Default::default()
    };
    match random.below(4) {
        0 => dims.resize(1 + random.below(40), extent(absurd(random))),
        1 => tensor.elem_type = Some(random.below(30) as i32),
        _ => {
            let at = random.below(dims.len());
            dims[at] = extent(absurd(random));
        }
    }
}

fn attributes(graph: &mut GraphProto, random: &mut Random) {
    let mut all: Vec<_> = graph.node.iter_mut().flat_map(|n| &mut n.attribute).collect();
    let count = all.len();
    if count == 0 {
        let first = &mut graph.node[0];
        first.op_type = Some("NoSuchOperator".into());
        return;
    }
    let attribute = &mut all[random.below(count)];
    if let Some(i) = &mut attribute.i {
        *i = absurd(random);
    } else if attribute.f.is_some() {
        attribute.f = Some([f32::NAN, f32::INFINITY, -1.0, 0.0][random.below(4)]);
    } else {
        absurd_shape(&mut attribute.ints, random);
    }
    if random.below(6) == 0 {
        attribute.r#type = Some(random.below(16) as i32);
    }
}

fn external_path(graph: &mut GraphProto, random: &mut Random) {
    let count = graph.initializer.len();
    let tensor: &mut TensorProto = &mut graph.initializer[random.below(count)];
    tensor.raw_data = None::<Bytes>;
    tensor.data_location = Some(1);
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    tensor.external_data = vec![entry("location", PATHS[random.below(PATHS.len())].into())];
    if random.below(3) == 0 {
        let key = if random.below(2) == 0 { "offset" } else { "length" };
        tensor.external_data.push(entry(key, absurd(random).to_string()));
    }
}

fn wiring(graph: &mut GraphProto, random: &mut Random) {
    let count = graph.node.len();
    let (a, b) = (random.below(count), random.below(count));
    match random.below(5) {
        0 => graph.node.swap(a, b),
        1 => graph.node[a].output = graph.node[b].output.clone(),
        2 => drop(graph.node.remove(a)),
        3 => graph.node[a].input = graph.node[b].output.clone(),
        _ => graph.node[a].op_type = graph.node[b].op_type.clone(),
    }
}
