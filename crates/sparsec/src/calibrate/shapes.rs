//! The kernels that calibration times: a few shapes of each family, as networks have them.

use std::collections::BTreeMap;

use sparsec_graph::{Format, Graph, TensorData, ValueId, parse, random_data};

use crate::CompileError;

/// One graph.
#[derive(Clone, Debug)]
pub struct Case {
    /// For progress and reports.
    pub name: String,
    /// Formats that are forced, by the name of the weight.
    pub formats: BTreeMap<String, Format>,
    /// The graph as text.
    text: String,
    pattern: Pattern,
}

/// What is done to the weight `w` beside what the text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    Free,
    /// N of M along the columns.
    Nm(usize, usize),
    /// Blocks of rows: all or none.
    Block(usize),
}

impl Case {
    fn new(name: String, text: String) -> Case {
        Case { name, formats: BTreeMap::new(), text, pattern: Pattern::Free }
    }

    fn stored(mut self, format: Format) -> Case {
        self.formats.insert("w".to_owned(), format);
        self
    }

    fn pattern(mut self, pattern: Pattern) -> Case {
        self.pattern = pattern;
        self
    }

    /// The graph, with its weights.
    ///
    /// # Errors
    /// When the text is wrong, which would be a defect.
    pub fn graph(&self) -> Result<Graph, CompileError> {
        let failed = |e: &dyn std::fmt::Display| CompileError::Measure {
            model: self.name.clone(),
            message: format!("a graph of the calibration is wrong: {e}"),
        };
        let mut graph = parse(&self.text).map_err(|e| failed(&e))?;
        if self.pattern != Pattern::Free {
            let weight =
                |v: ValueId| graph.constant(v).filter(|c| c.name == "w").map(|c| (v, self.pattern.of(&c.data)));
            let found = graph.nodes().flat_map(|(_, n)| n.operands.clone()).find_map(weight);
            if let Some((old, data)) = found {
                let new = graph.add_constant("w", data);
                graph.replace_uses(old, new);
                graph.remove_constant(old);
            }
        }
        Ok(graph)
    }
}

impl Pattern {
    /// Random numbers in the pattern, of the shape of `like`.
    fn of(self, like: &TensorData) -> TensorData {
        let rows = like.shape.first().copied().unwrap_or(1).max(1);
        let cols = like.elements() / rows;
        let positions: usize = like.shape.iter().skip(2).product();
        let full = random_data(like.dtype, &like.shape, 7, 1.0);
        let mut values = full.as_f32().map(|v| v.to_vec()).unwrap_or_default();
        let hash = |a: usize, b: usize| {
            let h = (a as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (b as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
            (h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
        };
        for (i, value) in values.iter_mut().enumerate() {
            let (row, col) = (i / cols.max(1), i % cols.max(1));
            let (channel, position) = (col / positions, col % positions);
            let keep = match self {
                Pattern::Free => true,
                Pattern::Nm(n, m) => {
                    let first = hash(row * positions + position, channel / m) as usize;
                    (channel % m + m - first % m) % m < n
                }
                Pattern::Block(r) => hash(row / r, col) % 5 == 0,
            };
            if !keep {
                *value = 0.0;
            }
        }
        TensorData::f32(&like.shape, values)
    }
}

/// All cases, in the order in which they are run.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    products(&mut all);
    token_major(&mut all);
    vectors(&mut all);
    convolutions(&mut all);
    activations(&mut all);
    all
}

const HYB: Format = Format::Hyb { partition: 256, bucket: 2, rows: 4 };

/// `[m, k] x [k, n]`, features first, with bias and activation.
fn products(all: &mut Vec<Case>) {
    let text = |m: usize, k: usize, n: usize, density: f64, activation: &str| {
        format!(
            "graph @product {{\n  input %0 \"x\": f32[{k}, {n}]\n  \
             const %1 \"w\": f32[{m}, {k}] random(seed = 1, density = {density:?})\n  \
             const %2 \"b\": f32[{m}, 1] random(seed = 2, density = 1.0)\n  \
             %3 \"product\" = contract \"mk,kn->mn\" (%1, %0)\n  %4 \"bias\" = add (%3, %2)\n  \
             %5 \"activation\" = {activation} (%4)\n  output \"y\" = %5\n}}"
        )
    };
    let shapes = [
        (384, 384, 64, "relu"),
        (1536, 384, 64, "gelu"),
        (768, 768, 128, "relu"),
        (768, 3072, 128, "relu"),
        (3072, 768, 128, "gelu"),
        (1024, 4096, 64, "relu"),
        (256, 256, 784, "relu"),
    ];
    for (m, k, n, activation) in shapes {
        let case =
            |what: &str, density: f64| Case::new(format!("{what} {m}x{k}x{n}"), text(m, k, n, density, activation));
        all.push(case("dense", 1.0).stored(Format::Dense));
        for density in [0.05, 0.1, 0.2, 0.4] {
            all.push(case(&format!("hyb {density}"), density).stored(HYB));
        }
        all.push(case("hyb, single entries", 0.1).stored(Format::Hyb { partition: 256, bucket: 1, rows: 4 }));
        all.push(case("hyb, four entries", 0.1).stored(Format::Hyb { partition: 256, bucket: 4, rows: 4 }));
        all.push(case("csr", 0.1).stored(Format::Csr));
        all.push(case("nm<2,4>", 1.0).pattern(Pattern::Nm(2, 4)).stored(Format::Nm { n: 2, m: 4 }));
        for r in [4u32, 8] {
            let case = case(&format!("bsr<{r},1>"), 1.0).pattern(Pattern::Block(r as usize));
            all.push(case.stored(Format::Bsr { r, c: 1 }));
        }
    }
    // A weight that no cache holds.
    let large =
        |what: &str, density: f64| Case::new(format!("{what} 8192x8192x16"), text(8192, 8192, 16, density, "relu"));
    all.push(large("dense", 1.0).stored(Format::Dense));
    all.push(large("hyb", 0.1).stored(HYB));
}

/// Tokens first: X is transposed while it is packed, and Y while it is stored.
fn token_major(all: &mut Vec<Case>) {
    for (m, k, n) in [(384, 384, 64), (768, 768, 128), (1024, 4096, 64)] {
        let case = |what: &str, density: f64, spec: &str, x: String| {
            Case::new(
                format!("{what} {m}x{k}x{n} {spec}"),
                format!(
                    "graph @tokens {{\n  input %0 \"x\": f32[{x}]\n  \
                     const %1 \"w\": f32[{m}, {k}] random(seed = 1, density = {density:?})\n  \
                     %2 \"product\" = contract \"{spec}\" (%1, %0)\n  output \"y\" = %2\n}}"
                ),
            )
        };
        for (what, density, format) in [("dense", 1.0, Format::Dense), ("hyb", 0.1, HYB)] {
            all.push(case(what, density, "mk,nk->nm", format!("{n}, {k}")).stored(format.clone()));
            all.push(case(what, density, "mk,nk->mn", format!("{n}, {k}")).stored(format));
        }
    }
}

/// A single column of X.
fn vectors(all: &mut Vec<Case>) {
    for (m, k) in [(512, 512), (1024, 4096), (4096, 4096), (1000, 2048), (8192, 8192)] {
        let case = |what: &str, density: f64| {
            Case::new(
                format!("{what} {m}x{k}x1"),
                format!(
                    "graph @vector {{\n  input %0 \"x\": f32[1, {k}]\n  \
                     const %1 \"w\": f32[{m}, {k}] random(seed = 1, density = {density:?})\n  \
                     %2 \"product\" = contract \"mk,nk->nm\" (%1, %0)\n  output \"y\" = %2\n}}"
                ),
            )
        };
        all.push(case("dense", 1.0).stored(Format::Dense));
        all.push(case("csr", 0.1).stored(Format::Csr));
        all.push(case("csr", 0.3).stored(Format::Csr));
        all.push(case("nm<2,4>", 1.0).pattern(Pattern::Nm(2, 4)).stored(Format::Nm { n: 2, m: 4 }));
        if m % 8 == 0 {
            all.push(case("bsr<4,1>", 1.0).pattern(Pattern::Block(4)).stored(Format::Bsr { r: 4, c: 1 }));
            all.push(case("bsr<8,1>", 1.0).pattern(Pattern::Block(8)).stored(Format::Bsr { r: 8, c: 1 }));
        }
    }
}

/// Convolutions of the networks for 224x224 images, with ReLU, some with a residual.
fn convolutions(all: &mut Vec<Case>) {
    struct Conv {
        channels: (usize, usize),
        image: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
        residual: bool,
    }
    let text = |c: &Conv, density: f64| {
        let (from, to, size) = (c.channels.0, c.channels.1, c.image);
        let pad = c.kernel / 2;
        let out = (size + 2 * pad - c.kernel) / c.stride + 1;
        let (group, kernel, stride, groups) = (from / c.groups, c.kernel, c.stride, c.groups);
        let end = match c.residual {
            true => "%5 \"sum\" = add (%4, %1)\n  %6 \"relu\" = relu (%5)\n  output \"y\" = %6",
            false => "%5 \"relu\" = relu (%4)\n  output \"y\" = %5",
        };
        format!(
            "graph @convolution {{\n  input %0 \"x\": f32[1, {from}, {size}, {size}]\n  \
             input %1 \"r\": f32[1, {to}, {out}, {out}]\n  \
             const %2 \"w\": f32[{to}, {group}, {kernel}, {kernel}] random(seed = 1, density = {density:?})\n  \
             const %3 \"b\": f32[{to}] random(seed = 2, density = 1.0)\n  \
             %4 \"product\" = conv (%0, %2, %3) strides [{stride}, {stride}] pads [({pad}, {pad}), ({pad}, {pad})] \
             dilations [1, 1] groups {groups}\n  {end}\n}}"
        )
    };
    let conv =
        |channels, image, kernel, stride, residual| Conv { channels, image, kernel, stride, groups: 1, residual };
    let shapes = [
        conv((64, 64), 56, 1, 1, false),
        conv((64, 256), 56, 1, 1, true),
        conv((256, 64), 56, 1, 1, false),
        conv((64, 64), 56, 3, 1, false),
        conv((128, 128), 56, 3, 2, false),
        conv((256, 512), 56, 1, 2, false),
        conv((128, 128), 28, 3, 1, false),
        conv((128, 512), 28, 1, 1, true),
        conv((512, 256), 28, 1, 1, false),
        conv((256, 256), 14, 3, 1, false),
        conv((256, 1024), 14, 1, 1, true),
        conv((1024, 2048), 14, 1, 2, false),
        conv((512, 512), 7, 3, 1, false),
        conv((512, 2048), 7, 1, 1, true),
        conv((2048, 512), 7, 1, 1, false),
    ];
    for c in &shapes {
        let case = |what: &str, density: f64| {
            let ((from, to), size, kernel, stride) = (c.channels, c.image, c.kernel, c.stride);
            Case::new(format!("{what} conv {from}->{to} {kernel}x{kernel}/{stride} of {size}"), text(c, density))
        };
        all.push(case("dense", 1.0).stored(Format::Dense));
        all.push(case("hyb", 0.1).stored(HYB));
        all.push(case("hyb", 0.2).stored(HYB));
        all.push(case("csr", 0.1).stored(Format::Csr));
        all.push(case("nm<2,4>", 1.0).pattern(Pattern::Nm(2, 4)).stored(Format::Nm { n: 2, m: 4 }));
        all.push(case("bsr<4,1>", 1.0).pattern(Pattern::Block(4)).stored(Format::Bsr { r: 4, c: 1 }));
    }
    let first = conv((3, 64), 224, 7, 2, false);
    all.push(Case::new("first convolution, 7x7".to_owned(), text(&first, 1.0)).stored(Format::Dense));
    let first = conv((3, 32), 224, 3, 2, false);
    all.push(Case::new("first convolution, 3x3".to_owned(), text(&first, 1.0)).stored(Format::Dense));
    for (channels, image, stride) in
        [(32, 112, 1), (96, 112, 2), (144, 56, 1), (192, 28, 1), (384, 14, 1), (576, 14, 2), (960, 7, 1)]
    {
        let channels = (channels, channels);
        let depthwise = Conv { channels, image, kernel: 3, stride, groups: channels.0, residual: false };
        let name = format!("depthwise {} 3x3/{stride} of {image}", channels.0);
        all.push(Case::new(name, text(&depthwise, 1.0)).stored(Format::Dense));
    }
}

/// Operators without a weight.
fn activations(all: &mut Vec<Case>) {
    let mut add = |name: &str, inputs: &[&str], nodes: &str, result: usize| {
        let ports: String = inputs.iter().enumerate().map(|(i, ty)| format!("  input %{i} \"x{i}\": {ty}\n")).collect();
        all.push(Case::new(
            name.to_owned(),
            format!("graph @operator {{\n{ports}{nodes}\n  output \"y\" = %{result}\n}}"),
        ));
    };
    for (heads, tokens, width) in [(12, 64, 32), (12, 128, 64), (12, 384, 64)] {
        let (q, k) = (format!("f32[1, {heads}, {tokens}, {width}]"), format!("f32[1, {heads}, {width}, {tokens}]"));
        add("scores", &[&q, &k], "  %2 \"scores\" = contract \"bhsd,bhdt->bhst\" (%0, %1)", 2);
        let p = format!("f32[1, {heads}, {tokens}, {tokens}]");
        add("context", &[&p, &q], "  %2 \"context\" = contract \"bhst,bhtd->bhsd\" (%0, %1)", 2);
        let one = format!("f32[1, {heads}, 1, {width}]");
        add("one query", &[&one, &k], "  %2 \"scores\" = contract \"bhsd,bhdt->bhst\" (%0, %1)", 2);
        add("context, features first", &[&p, &k], "  %2 \"context\" = contract \"bhst,bhdt->bhds\" (%0, %1)", 2);
        let whole = "  %3 \"scores\" = contract \"bhsd,bhdt->bhst\" (%0, %1)\n  %4 \"p\" = softmax (%3) axis 3\n  \
             %5 \"context\" = contract \"bhst,bhtd->bhsd\" (%4, %2)";
        add("attention", &[&q, &k, &q], whole, 5);
        let first = |one: usize, two: usize| format!("f32[{heads}, {one}, 1, {two}]");
        let whole = "  %3 \"scores\" = contract \"hdbs,hdbt->bhts\" (%0, %1)\n  %4 \"p\" = softmax (%3) axis 2\n  \
             %5 \"context\" = contract \"hdbt,bhts->hdbs\" (%2, %4)";
        let wide = first(width, tokens);
        add("attention, features first", &[&wide, &wide, &wide], whole, 5);
        add("softmax", &[&p], "  %1 \"softmax\" = softmax (%0) axis 3", 1);
        add("softmax across", &[&p], "  %1 \"softmax\" = softmax (%0) axis 2", 1);
    }
    for (tokens, width) in [(64, 384), (128, 768), (384, 1024)] {
        let (x, s) = (format!("f32[1, {tokens}, {width}]"), format!("f32[{width}]"));
        let node = "  %3 \"norm\" = layer_norm (%0, %1, %2) axis 2 axes 1 epsilon 1e-5";
        add("layer norm", &[&x, &s, &s], node, 3);
        let (x, s) = (format!("f32[{width}, {tokens}]"), format!("f32[{width}, 1]"));
        // Across: every lane is a line.
        add("sum across", &[&x], "  %1 \"sum\" = reduce sum (%0) axes [0] keep true", 1);
        add("sum along", &[&x], "  %1 \"sum\" = reduce sum (%0) axes [1] keep true", 1);
        add("transpose", &[&x], "  %1 \"turned\" = transpose (%0) perm [1, 0]", 1);
        add("product with a line", &[&x, &s], "  %2 \"scaled\" = mul (%0, %1)", 2);
        add("sum of two", &[&x, &x], "  %2 \"sum\" = add (%0, %1)", 2);
        add("gelu", &[&x], "  %1 \"gelu\" = gelu (%0)", 1);
        add("sigmoid", &[&x], "  %1 \"sigmoid\" = sigmoid (%0)", 1);
        let ids = format!("i64[{tokens}]");
        let table = format!("f32[100, {width}]");
        add("gather", &[&table, &ids], "  %2 \"rows\" = gather (%0, %1) axis 0", 2);
    }
    for (channels, image) in [(64, 112), (128, 56), (512, 14)] {
        let x = format!("f32[1, {channels}, {image}, {image}]");
        let pool = |kind: &str, stride: usize| {
            format!(
                "  %1 \"pool\" = pool {kind} (%0) kernel [3, 3] strides [{stride}, {stride}] pads [(1, 1), (1, 1)] \
                 dilations [1, 1] ceil false"
            )
        };
        add("pool max, stride 1", &[&x], &pool("max", 1), 1);
        add("pool max, stride 2", &[&x], &pool("max", 2), 1);
        add("pool average, stride 1", &[&x], &pool("average", 1), 1);
        add("pool average, stride 2", &[&x], &pool("average", 2), 1);
        add("global mean", &[&x], "  %1 \"mean\" = reduce mean (%0) axes [2, 3] keep true", 1);
        add("concat", &[&x, &x], "  %2 \"both\" = concat (%0, %1) axis 1", 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_a_graph_with_its_pattern() {
        for case in cases() {
            // The largest weights say nothing that the others don't.
            if case.name.contains("8192") {
                continue;
            }
            let graph = case.graph().unwrap_or_else(|e| panic!("{}: {e}\n{}", case.name, case.text));
            sparsec_graph::verify(&graph).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
            if case.pattern == Pattern::Nm(2, 4) {
                let macs = sparsec_passes::count_macs(&graph);
                assert_eq!(macs.nonzero * 2, macs.dense, "{}", case.name);
            }
        }
    }
}
