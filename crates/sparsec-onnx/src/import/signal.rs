//! Tables of signal processing, which are computed when the model is compiled.

use sparsec_graph::{DType, TensorData};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;
use crate::tensor;

type Results = Result<Vec<Operand>, Fault>;

/// Largest table, in elements.
const LARGEST: f64 = 1e8;

/// `HannWindow`, `HammingWindow`, `BlackmanWindow`: sums of cosines of the multiples of `2 pi i / n`.
pub(super) fn window(cx: &mut Context, node: &Node<'_>) -> Results {
    let coefficients: &[f64] = match node.proto.op_type() {
        "HannWindow" => &[0.5, -0.5],
        "HammingWindow" => &[25.0 / 46.0, -21.0 / 46.0],
        _ => &[0.42, -0.5, 0.08],
    };
    let size = number(cx, node, 0, "the size")?;
    let period = if node.int_or("periodic", 1)? != 0 { size } else { size - 1.0 };
    let element = |i: usize| {
        let angle = std::f64::consts::TAU * i as f64 / period;
        coefficients.iter().enumerate().map(|(k, c)| c * (angle * k as f64).cos()).sum::<f64>()
    };
    let values = (0..size as usize).map(element).collect();
    Ok(vec![table(cx, node, &[size as usize], values)?])
}

/// `MelWeightMatrix`: triangles over the bins of a spectrum, at equal distances on the mel scale.
pub(super) fn mel_weight_matrix(cx: &mut Context, node: &Node<'_>) -> Results {
    let bins = number(cx, node, 0, "the number of bins")?;
    let length = number(cx, node, 1, "the length of the transform")?;
    let rate = number(cx, node, 2, "the sample rate")?;
    let (low, high) = (number(cx, node, 3, "the lower edge")?, number(cx, node, 4, "the upper edge")?);
    let spectrum = (length / 2.0).floor() + 1.0;
    if rate <= 0.0 || spectrum * bins > LARGEST {
        return Err(Fault::invalid("the sample rate must be positive, and the table not too large"));
    }
    let (bins, spectrum) = (bins as usize, spectrum as usize);
    let mel = |hertz: f64| 2595.0 * (hertz / 700.0).ln_1p() / std::f64::consts::LN_10;
    let hertz = |mel: f64| 700.0 * (mel / 2595.0 * std::f64::consts::LN_10).exp_m1();
    let step = (mel(high) - mel(low)) / (bins + 2) as f64;
    let edge = |i: usize| ((length + 1.0) * hertz(mel(low) + i as f64 * step) / rate).floor() as i64;
    let mut values = vec![0.0; spectrum * bins];
    let mut put = |row: i64, column: usize, value: f64| {
        let at = usize::try_from(row).ok().filter(|&row| row < spectrum).map(|row| row * bins + column);
        if let Some(element) = at.and_then(|at| values.get_mut(at)) {
            *element = value;
        }
    };
    for i in 0..bins {
        let (left, centre, right) = (edge(i), edge(i + 1), edge(i + 2));
        match centre - left {
            0 => put(centre, i, 1.0),
            rise => (left..=centre).for_each(|j| put(j, i, (j - left) as f64 / rise as f64)),
        }
        let fall = right - centre;
        (centre..right).for_each(|j| put(j, i, (right - j) as f64 / fall as f64));
    }
    Ok(vec![table(cx, node, &[spectrum, bins], values)?])
}

/// An operand that is known and not negative.
fn number(cx: &Context, node: &Node<'_>, index: usize, what: &str) -> Result<f64, Fault> {
    let x = node.input(index)?;
    let number = cx.number(x).ok_or_else(|| cx.unresolved(x, what))?;
    if (0.0..LARGEST).contains(&number) { Ok(number) } else { Err(Fault::invalid(format!("{what} is {number}"))) }
}

fn table(cx: &mut Context, node: &Node<'_>, shape: &[usize], values: Vec<f64>) -> Result<Operand, Fault> {
    let to = tensor::dtype(i32::try_from(node.int_or("output_datatype", 1)?).unwrap_or(-1))?;
    cx.budget.take(values.len() as u64 * 8)?;
    let name = cx.node_name.clone();
    let values = cx.add_data(&name, TensorData::from_vec(DType::F64, shape, values));
    cx.cast(values, to)
}

/// `AffineGrid`: the points of a regular grid from -1 to 1, by an affine map for each image.
pub(super) fn affine_grid(cx: &mut Context, node: &Node<'_>) -> Results {
    let theta = node.input(0)?;
    let size = cx.const_ints(node.input(1)?, "the size")?;
    let spatial: Vec<usize> = size.iter().skip(2).map(|&d| usize::try_from(d).unwrap_or(0)).collect();
    let axes = spatial.len();
    if !(2..=3).contains(&axes) || cx.rank(theta) != 3 {
        return Err(Fault::invalid("the size must be that of images with 2 or 3 spatial dimensions"));
    }
    let aligned = node.int_or("align_corners", 0)? != 0;
    let coordinate = |i: usize, n: usize| match aligned {
        true if n == 1 => -1.0,
        true => -1.0 + 2.0 * i as f64 / (n - 1) as f64,
        false => (2.0 * i as f64 + 1.0) / n as f64 - 1.0,
    };
    let points: usize = spatial.iter().product();
    // A point is (x, y, 1) or (x, y, z, 1): the last axis of the image comes first.
    let columns = axes + 1;
    let base = cx.table(DType::F64, &[points, columns], |at| {
        let (mut point, column) = (at / columns, at % columns);
        for (k, &extent) in spatial.iter().rev().enumerate() {
            if k == column {
                return coordinate(point % extent, extent);
            }
            point /= extent;
        }
        1.0
    })?;
    let base = cx.cast(base, cx.dtype(theta))?;
    let grid = cx.contract("pc,nac->npa", base, theta)?;
    let batch = cx.shape(theta)[0].clone();
    let mut shape = vec![batch];
    shape.extend(spatial.iter().map(|&d| (d as i64).into()));
    shape.push((axes as i64).into());
    Ok(vec![cx.reshape(grid, shape)?])
}
