//! The layers: `y = relu(W x)` with a constant `W`, M x K, and N columns of X.

use sparsec_tir::Precision;

use crate::random::Random;

/// Where a weight's zeros are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pattern {
    /// None.
    Dense,
    /// A share of the entries, anywhere.
    Unstructured(f64),
    /// All but two of four neighbours along K.
    TwoOfFour,
    /// A share of the blocks of 16 x 16.
    Blocks(f64),
}

impl Pattern {
    /// As `sparsec prune` has it.
    pub(crate) fn name(self) -> String {
        match self {
            Pattern::Dense => "dense".to_owned(),
            Pattern::Unstructured(s) => format!("un:{s}"),
            Pattern::TwoOfFour => "nm:2:4".to_owned(),
            Pattern::Blocks(s) => format!("block:16:16:{s}"),
        }
    }

    /// A weight, row-major.
    pub(crate) fn weight(self, m: usize, k: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        let mut weight = random.normal(1.0 / (k as f32).sqrt(), m * k);
        match self {
            Pattern::Dense => {}
            Pattern::Unstructured(share) => {
                weight.iter_mut().for_each(|w| *w = if f64::from(random.unit()) < share { 0.0 } else { *w });
            }
            Pattern::TwoOfFour => {
                // Groups are those of a row, the last one may be shorter.
                for four in weight.chunks_mut(k).flat_map(|row| row.chunks_mut(4)).filter(|c| c.len() == 4) {
                    let first = random.below(4);
                    let second = (first + 1 + random.below(3)) % 4;
                    (0..4).filter(|i| *i != first && *i != second).for_each(|i| four[i] = 0.0);
                }
            }
            Pattern::Blocks(share) => {
                let columns = k.div_ceil(16);
                let gone: Vec<bool> = (0..m.div_ceil(16) * columns).map(|_| f64::from(random.unit()) < share).collect();
                for (i, w) in weight.iter_mut().enumerate() {
                    if gone[i / k / 16 * columns + i % k / 16] {
                        *w = 0.0;
                    }
                }
            }
        }
        weight
    }
}

/// A layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// Where it comes from.
    pub(crate) name: String,
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) pattern: Pattern,
    /// The format, or none for the compiler's choice.
    pub(crate) format: Option<&'static str>,
    /// What factors are rounded to for tensor cores; none: `f32` without them.
    pub(crate) compute: Option<Precision>,
}

/// The name of what is computed in.
pub(crate) fn compute_name(compute: Option<Precision>) -> &'static str {
    compute.map_or("f32", Precision::name)
}

/// Layers of BERT-base, and 1x1 convolutions of ResNet-50, outputs x inputs.
const SHAPES: [(&str, usize, usize); 7] = [
    ("bert.attention", 768, 768),
    ("bert.up", 3072, 768),
    ("bert.down", 768, 3072),
    ("resnet.2", 256, 64),
    ("resnet.3", 128, 512),
    ("resnet.4", 1024, 256),
    ("resnet.5", 512, 2048),
];

/// One square product, for figures that others publish.
const SQUARE: (&str, usize, usize) = ("square", 4096, 4096);

const COLUMNS: [usize; 5] = [1, 16, 128, 512, 4096];

const SPARSITIES: [f64; 6] = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98];

/// The layers that are timed; for the simulator, small ones of each kind.
pub(crate) fn layers(small: bool) -> Vec<Layer> {
    let (shapes, columns, sparsities): (Vec<_>, &[usize], &[f64]) = match small {
        true => (vec![("bert.up", 96, 32), ("resnet.3", 32, 64)], &[1, 16, 40], &[0.5, 0.9]),
        false => (SHAPES.into_iter().chain([SQUARE]).collect(), &COLUMNS, &SPARSITIES),
    };
    let mut layers = Vec::new();
    for (name, m, k) in shapes {
        for &n in columns {
            let mut add = |pattern, compute, formats: &[Option<&'static str>]| {
                layers.extend(formats.iter().map(|&format| Layer {
                    name: name.into(),
                    m,
                    k,
                    n,
                    pattern,
                    format,
                    compute,
                }));
            };
            // Single columns have no use for tensor cores.
            let (all, some): (&[Option<Precision>], &[Option<Precision>]) = match n {
                1 => (&[None], &[None]),
                _ => (&[None, Some(Precision::TF32), Some(Precision::F16)], &[None, Some(Precision::F16)]),
            };
            for &compute in all {
                add(Pattern::Dense, compute, &[None]);
            }
            for &s in sparsities {
                add(Pattern::Unstructured(s), None, &[None, Some("csr")]);
            }
            // Loaded sparse, multiplied dense: for few columns.
            for &s in sparsities.iter().filter(|s| n <= 128 && **s <= 0.8) {
                add(Pattern::Unstructured(s), Some(Precision::F16), &[None, Some("bitmap")]);
            }
            for &compute in some {
                add(Pattern::TwoOfFour, compute, &[None, Some("nm<2,4>")]);
                for &s in sparsities.iter().filter(|s| small || [0.5, 0.8, 0.9].contains(s)) {
                    add(Pattern::Blocks(s), compute, &[None, Some("bsr<16,16>")]);
                }
            }
        }
    }
    layers
}

/// Small layers in every format, with sizes that divide nothing, and single columns.
pub(crate) fn checks() -> Vec<Layer> {
    let formats = ["dense", "csr", "bsr<4,1>", "bsr<8,8>", "bsr<16,16>", "hyb<64,4,2>", "hyb<8,1,4>", "pruned<csr>"];
    let mut checks = Vec::new();
    for (m, k, n) in [(16, 24, 70), (33, 50, 1), (35, 37, 19)] {
        let name = "small".to_owned();
        for format in formats {
            for pattern in [Pattern::Unstructured(0.8), Pattern::Blocks(0.5)] {
                checks.push(Layer { name: name.clone(), m, k, n, pattern, format: Some(format), compute: None });
            }
        }
        let two = |compute| Layer {
            name: name.clone(),
            m,
            k,
            n,
            pattern: Pattern::TwoOfFour,
            format: Some("nm<2,4>"),
            compute,
        };
        checks.push(two(None));
        for compute in [Precision::F16, Precision::BF16] {
            let (name, pattern) = (name.clone(), Pattern::Unstructured(0.7));
            checks.push(Layer { name, m, k, n, pattern, format: Some("bitmap"), compute: Some(compute) });
        }
        for compute in Precision::ALL.map(Some).into_iter().filter(|_| n > 1) {
            for format in ["dense", "bsr<16,16>", "pruned<dense>"] {
                let (name, pattern) = (name.clone(), Pattern::Blocks(0.5));
                checks.push(Layer { name, m, k, n, pattern, format: Some(format), compute });
            }
            if compute != Some(Precision::TF32) {
                checks.push(two(compute));
            }
        }
    }
    checks
}
