//! Whole networks with seeded weights: they are there to be timed. `python/peers.py` has the same shapes in PyTorch.

use sparsec_onnx::proto::ModelProto;
use sparsec_tir::Precision;

use crate::model::{Attribute, Extent, ModelBuilder};
use crate::random::Random;

/// A network, pruned.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) name: String,
    /// `dense`, or as `sparsec prune` has it.
    pub(crate) pattern: String,
    pub(crate) input: Vec<i64>,
    pub(crate) output: Vec<i64>,
    /// What products with weights are computed in by tensor cores; none: `f32` without them.
    pub(crate) compute: Option<Precision>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Widths of its layers.
    Perceptron {
        widths: &'static [i64],
        batch: i64,
    },
    Bert {
        layers: usize,
        width: i64,
        heads: i64,
        tokens: i64,
    },
    /// Blocks of each stage, channels of the first, pixels along a side.
    ResNet {
        blocks: &'static [usize],
        channels: i64,
        side: i64,
        classes: i64,
    },
}

/// The networks in each pattern; for the simulator, small ones of each family.
pub(crate) fn all(small: bool) -> Vec<Network> {
    let kinds: &[(&str, Kind)] = match small {
        true => &[
            ("mlp", Kind::Perceptron { widths: &[40, 48, 10], batch: 3 }),
            ("bert", Kind::Bert { layers: 1, width: 32, heads: 2, tokens: 5 }),
            ("resnet", Kind::ResNet { blocks: &[1, 1], channels: 8, side: 16, classes: 10 }),
        ],
        false => &[
            ("mlp_b1", Kind::Perceptron { widths: &[1024, 4096, 4096, 1000], batch: 1 }),
            ("mlp_b64", Kind::Perceptron { widths: &[1024, 4096, 4096, 1000], batch: 64 }),
            ("bert_base", Kind::Bert { layers: 12, width: 768, heads: 12, tokens: 128 }),
            ("resnet50", Kind::ResNet { blocks: &[3, 4, 6, 3], channels: 64, side: 224, classes: 1000 }),
        ],
    };
    let patterns: &[&str] =
        if small { &["dense", "un:0.9", "nm:2:4"] } else { &["dense", "un:0.9", "nm:2:4", "block:16:16:0.8"] };
    let mut all = Vec::new();
    for (name, kind) in kinds {
        let (input, output) = match *kind {
            Kind::Perceptron { widths, batch } => {
                let end = |w: Option<&i64>| vec![batch, w.copied().unwrap_or(1)];
                (end(widths.first()), end(widths.last()))
            }
            Kind::Bert { width, tokens, .. } => (vec![1, tokens, width], vec![1, tokens, width]),
            Kind::ResNet { side, classes, .. } => (vec![1, 3, side, side], vec![1, classes]),
        };
        for pattern in patterns {
            all.extend([None, Some(Precision::F16)].map(|compute| Network {
                name: (*name).to_owned(),
                pattern: (*pattern).to_owned(),
                input: input.clone(),
                output: output.clone(),
                compute,
                kind: *kind,
            }));
        }
    }
    all
}

impl Network {
    /// The network as ONNX.
    pub(crate) fn model(&self) -> Result<ModelProto, String> {
        let mut net = Net { m: ModelBuilder::new(&self.name), random: Random::new(50) };
        let fixed = |shape: &[i64]| shape.iter().map(|&n| Extent::Fixed(n)).collect::<Vec<_>>();
        let x = net.m.input("x", &fixed(&self.input));
        let y = match self.kind {
            Kind::Perceptron { widths, .. } => net.perceptron(&x, widths),
            Kind::Bert { layers, width, heads, tokens } => {
                (0..layers).fold(x, |x, _| net.encoder(&x, width, heads, tokens))
            }
            Kind::ResNet { blocks, channels, classes, .. } => net.resnet(&x, blocks, channels, classes),
        };
        net.m.node_named("Identity", &[&y], &[], "y");
        net.m.output("y", &fixed(&self.output));
        let mut model = net.m.finish();
        if self.pattern != "dense" {
            let pattern = self.pattern.parse().map_err(|e: sparsec_onnx::PatternError| e.to_string())?;
            sparsec_onnx::prune(&mut model, None, &pattern).map_err(|e| e.to_string())?;
        }
        Ok(model)
    }
}

struct Net {
    m: ModelBuilder,
    random: Random,
}

impl Net {
    fn weights(&mut self, shape: &[i64], std: f32) -> String {
        let values = self.random.normal(std, shape.iter().product::<i64>() as usize);
        self.m.weight(shape, &values)
    }

    fn linear(&mut self, x: &str, inputs: i64, outputs: i64) -> String {
        let weight = self.weights(&[inputs, outputs], 1.0 / (inputs as f32).sqrt());
        let bias = self.weights(&[outputs], 0.1);
        let y = self.m.node("MatMul", &[x, &weight], &[]);
        self.m.node("Add", &[&y, &bias], &[])
    }

    fn perceptron(&mut self, x: &str, widths: &[i64]) -> String {
        let mut y = x.to_owned();
        for (i, pair) in widths.windows(2).enumerate() {
            let &[inputs, outputs] = pair else { continue };
            y = self.linear(&y, inputs, outputs);
            if i + 2 < widths.len() {
                y = self.m.node("Relu", &[&y], &[]);
            }
        }
        y
    }

    fn layer_norm(&mut self, x: &str, width: i64) -> String {
        let (gamma, beta) = (self.random.uniform(0.8, 1.2, width as usize), self.random.normal(0.1, width as usize));
        let (gamma, beta) = (self.m.weight(&[width], &gamma), self.m.weight(&[width], &beta));
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(1e-5))];
        self.m.node("LayerNormalization", &[x, &gamma, &beta], &attributes)
    }

    /// One layer of an encoder: attention, then two products with GELU between, each added to its input and normalised.
    fn encoder(&mut self, x: &str, width: i64, heads: i64, tokens: i64) -> String {
        let split = self.m.integers(&[4], &[1, tokens, heads, width / heads]);
        let head = |net: &mut Net, order: &[i64]| {
            let y = net.linear(x, width, width);
            let y = net.m.node("Reshape", &[&y, &split], &[]);
            net.m.node("Transpose", &[&y], &[("perm", Attribute::Ints(order))])
        };
        let (q, k, v) = (head(self, &[0, 2, 1, 3]), head(self, &[0, 2, 3, 1]), head(self, &[0, 2, 1, 3]));
        let scores = self.m.node("MatMul", &[&q, &k], &[]);
        let root = self.m.weight(&[], &[((width / heads) as f32).sqrt()]);
        let scores = self.m.node("Div", &[&scores, &root], &[]);
        let scores = self.m.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let y = self.m.node("MatMul", &[&scores, &v], &[]);
        let y = self.m.node("Transpose", &[&y], &[("perm", Attribute::Ints(&[0, 2, 1, 3]))]);
        let joined = self.m.integers(&[3], &[1, tokens, width]);
        let y = self.m.node("Reshape", &[&y, &joined], &[]);
        let y = self.linear(&y, width, width);
        let y = self.m.node("Add", &[&y, x], &[]);
        let x = self.layer_norm(&y, width);
        let h = self.linear(&x, width, 4 * width);
        let h = self.gelu(&h);
        let h = self.linear(&h, 4 * width, width);
        let y = self.m.node("Add", &[&h, &x], &[]);
        self.layer_norm(&y, width)
    }

    fn gelu(&mut self, x: &str) -> String {
        let root = self.m.weight(&[], &[std::f32::consts::SQRT_2]);
        let (one, half) = (self.m.weight(&[], &[1.0]), self.m.weight(&[], &[0.5]));
        let e = self.m.node("Div", &[x, &root], &[]);
        let e = self.m.node("Erf", &[&e], &[]);
        let e = self.m.node("Add", &[&e, &one], &[]);
        let y = self.m.node("Mul", &[x, &e], &[]);
        self.m.node("Mul", &[&y, &half], &[])
    }

    fn conv(&mut self, x: &str, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> String {
        let fan_in = inputs * kernel * kernel;
        let weight = self.weights(&[outputs, inputs, kernel, kernel], (1.0 / fan_in as f32).sqrt());
        let bias = self.weights(&[outputs], 0.1);
        let attributes = [("strides", Attribute::Ints(&[stride; 2])), ("pads", Attribute::Ints(&[kernel / 2; 4]))];
        self.m.node("Conv", &[x, &weight, &bias], &attributes)
    }

    fn resnet(&mut self, image: &str, blocks: &[usize], channels: i64, classes: i64) -> String {
        let x = self.conv(image, 3, channels, 7, 2);
        let x = self.m.node("Relu", &[&x], &[]);
        let window = [
            ("kernel_shape", Attribute::Ints(&[3, 3])),
            ("strides", Attribute::Ints(&[2, 2])),
            ("pads", Attribute::Ints(&[1; 4])),
        ];
        let mut x = self.m.node("MaxPool", &[&x], &window);
        let (mut outer, mut inner) = (channels, channels);
        for (stage, &count) in blocks.iter().enumerate() {
            for block in 0..count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let y = self.conv(&x, outer, inner, 1, 1);
                let y = self.m.node("Relu", &[&y], &[]);
                let y = self.conv(&y, inner, inner, 3, stride);
                let y = self.m.node("Relu", &[&y], &[]);
                let y = self.conv(&y, inner, 4 * inner, 1, 1);
                let shortcut = if block == 0 { self.conv(&x, outer, 4 * inner, 1, stride) } else { x };
                let sum = self.m.node("Add", &[&y, &shortcut], &[]);
                x = self.m.node("Relu", &[&sum], &[]);
                outer = 4 * inner;
            }
            inner *= 2;
        }
        let x = self.m.node("GlobalAveragePool", &[&x], &[]);
        let x = self.m.node("Flatten", &[&x], &[]);
        self.linear(&x, outer, classes)
    }
}
