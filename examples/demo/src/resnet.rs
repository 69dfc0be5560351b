//! A network of ResNet-50's shape with seeded random weights (He et al., "Deep residual learning for image recognition",
//! 2016). It has no accuracy to lose: it is there to be timed.

use sparsec_onnx::proto::ModelProto;

use crate::model::{Attribute, Extent, ModelBuilder};
use crate::random::Random;

/// Stages of (blocks, inner channels); outer channels are four times the inner ones.
const STAGES: [(usize, i64); 4] = [(3, 64), (4, 128), (6, 256), (3, 512)];

/// The network for one image of 224 x 224 pixels: input `image` [1, 3, 224, 224], output [1, 1000].
#[must_use]
pub fn resnet50() -> ModelProto {
    let mut net = Net { model: ModelBuilder::new("resnet50"), random: Random::new(50) };
    let image = net.model.input("image", &[1, 3, 224, 224].map(Extent::Fixed));
    let mut x = net.conv(&image, 3, 64, 7, 2, 1.0);
    x = net.model.node("Relu", &[&x], &[]);
    let window = [
        ("kernel_shape", Attribute::Ints(&[3, 3])),
        ("strides", Attribute::Ints(&[2, 2])),
        ("pads", Attribute::Ints(&[1; 4])),
    ];
    x = net.model.node("MaxPool", &[&x], &window);
    let mut channels = 64;
    for (stage, (blocks, inner)) in STAGES.into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = net.bottleneck(&x, channels, inner, stride, block == 0);
            channels = 4 * inner;
        }
    }
    x = net.model.node("GlobalAveragePool", &[&x], &[]);
    x = net.model.node("Flatten", &[&x], &[]);
    let (weight, bias) = (net.random.normal(0.02, 1000 * 2048), net.random.normal(0.02, 1000));
    let weight = net.model.weight(&[1000, 2048], &weight);
    let bias = net.model.weight(&[1000], &bias);
    net.model.node_named("Gemm", &[&x, &weight, &bias], &[("transB", Attribute::Int(1))], "logits");
    net.model.output("logits", &[1, 1000].map(Extent::Fixed));
    net.model.finish()
}

struct Net {
    model: ModelBuilder,
    random: Random,
}

impl Net {
    /// Convolution without bias, then normalisation by seeded statistics.
    fn conv(&mut self, x: &str, inputs: i64, outputs: i64, kernel: i64, stride: i64, gain: f32) -> String {
        let fan_in = inputs * kernel * kernel;
        let weights = self.random.normal((2.0 / fan_in as f32).sqrt(), (outputs * fan_in) as usize);
        let weight = self.model.weight(&[outputs, inputs, kernel, kernel], &weights);
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[kernel; 2])),
            ("strides", Attribute::Ints(&[stride; 2])),
            ("pads", Attribute::Ints(&[kernel / 2; 4])),
        ];
        let y = self.model.node("Conv", &[x, &weight], &attributes);
        let ranges = [(0.8 * gain, 1.2 * gain), (-0.1, 0.1), (-0.1, 0.1), (0.8, 1.2)];
        let statistics = ranges.map(|(low, high)| {
            let values = self.random.uniform(low, high, outputs as usize);
            self.model.weight(&[outputs], &values)
        });
        let [gamma, beta, mean, variance] = &statistics;
        let epsilon = ("epsilon", Attribute::Float(1e-5));
        self.model.node("BatchNormalization", &[&y, gamma, beta, mean, variance], &[epsilon])
    }

    fn bottleneck(&mut self, x: &str, channels: i64, inner: i64, stride: i64, project: bool) -> String {
        let mut y = self.conv(x, channels, inner, 1, 1, 1.0);
        y = self.model.node("Relu", &[&y], &[]);
        y = self.conv(&y, inner, inner, 3, stride, 1.0);
        y = self.model.node("Relu", &[&y], &[]);
        y = self.conv(&y, inner, 4 * inner, 1, 1, 0.3);
        let shortcut = if project { self.conv(x, channels, 4 * inner, 1, stride, 1.0) } else { x.to_owned() };
        let sum = self.model.node("Add", &[&y, &shortcut], &[]);
        self.model.node("Relu", &[&sum], &[])
    }
}
