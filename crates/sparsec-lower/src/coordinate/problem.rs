//! A weight problem as a kernel of Stage I.
//!
//! ```text
//! axis B, I, H, W: batch, outputs, rows, columns     axis J: columns of the weight, (channel, kh, kw)
//! iterate product [B b, I i, H oh, W ow, J j] as "SSSSR" {
//!   init 0.0
//!   y[b, i, oh, ow] += weight[i, j] * x[b, channel(j), oh*sh + kh(j)*dh - ph, ow*sw + kw(j)*dw - pw]
//!   epilogue f(y[b, i, oh, ow])
//! }
//! ```

use sparsec_graph::Dim;
use sparsec_sparse::FormatError;
use sparsec_tir::{
    Access, Axis, AxisData, AxisId, AxisKind, BufferId, CoordinateBuffer, CoordinateData, CoordinateKernel, Expr,
    IterKind, Iteration, Scalar, Stmt, Type, VarId, load,
};

use crate::context::Context;
use crate::kernels::map::converted;
use crate::weight::{View, WeightMatrix, WeightProblem, Window, epilogue_value};

/// The weight among the buffers.
pub(crate) const WEIGHT: BufferId = BufferId(0);
const X: BufferId = BufferId(1);
const Y: BufferId = BufferId(2);
const FIRST_ARG: u32 = 3;

/// Axes: batch, outputs, rows, columns, columns of the weight.
const AXES: [(&str, &str); 5] = [("B", "b"), ("I", "i"), ("H", "oh"), ("W", "ow"), ("J", "j")];
const ROWS: AxisId = AxisId(1);
const COLUMNS: AxisId = AxisId(4);

/// A kernel of Stage I and the pattern of its weight.
#[derive(Clone, Debug)]
pub(crate) struct Coordinates {
    pub(crate) kernel: CoordinateKernel,
    pub(crate) data: CoordinateData,
    /// The weight's entries in the order of the pattern.
    pub(crate) values: Vec<f32>,
    /// The values of the kernel's params.
    pub(crate) params: Vec<Dim>,
}

/// What the problem computes, in coordinates. A weight without zeros is over two dense axes.
pub(crate) fn coordinate_kernel(p: &WeightProblem, weight: &WeightMatrix) -> Result<Coordinates, FormatError> {
    let mut c = Context::new("product");
    let extents = [0, 1, 2, 3].map(|axis| c.dim(&p.y.shape[axis]));
    let pattern = weight.pattern()?;
    let (rows, cols, nnz) = (weight.outputs(), weight.cols(), pattern.nnz());
    let mut data = CoordinateData::default();
    let dense = nnz == rows * cols;
    let columns = if dense {
        AxisKind::DenseFixed { len: Expr::int(cols as i64) }
    } else {
        let indptr = pattern.row_ptr().iter().map(|&n| n as u64).collect();
        let indices = pattern.col_idx().iter().map(|&j| u64::from(j)).collect();
        data.axes.insert(COLUMNS, AxisData { indptr, indices });
        AxisKind::SparseVariable { parent: ROWS, len: cols as u64, nnz: nnz as u64 }
    };
    let mut values = weight.dense().into_owned();
    values.retain(|v| dense || *v != 0.0);
    let mut kinds: Vec<AxisKind> = extents.into_iter().map(|len| AxisKind::DenseFixed { len }).collect();
    kinds[1] = AxisKind::DenseFixed { len: Expr::int(rows as i64) };
    kinds.push(columns);
    // The variables get the same numbers in the context, which writes the epilogue, and in the kernel.
    let vars = AXES.map(|(_, var)| c.bind(var, Type::INDEX, Expr::int(0)));
    let [b, i, oh, ow, j] = vars;
    let at = [b.clone(), i.clone(), oh.clone(), ow.clone()];
    let mut buffers = vec![CoordinateBuffer {
        name: "weight".to_owned(),
        elem: Scalar::F32,
        shape: Vec::new(),
        axes: vec![ROWS, COLUMNS],
        output: false,
    }];
    buffers.push(dense_buffer(&mut c, "x", &p.x, false));
    buffers.push(dense_buffer(&mut c, "y", &p.y, true));
    let names = (0..p.args.len()).map(|i| format!("arg{i}"));
    buffers.extend(p.args.iter().zip(names).map(|(v, name)| dense_buffer(&mut c, &name, v, false)));
    let x = converted((input(p, [b, oh, ow, j.clone()]), p.x.elem), Scalar::F32);
    let product = load(WEIGHT, vec![i, j]) * x;
    let epilogue = p.epilogue.as_ref().map(|_| epilogue(&mut c, p, &at));
    let iteration = Iteration {
        name: "product".to_owned(),
        axes: axes_of_iteration(),
        coordinates: Vec::new(),
        init: Expr::f32(0.0),
        target: Access::element(Y, at.to_vec()),
        value: product,
        epilogue: None,
    };
    let built = c.finish();
    let mut kernel = CoordinateKernel::new(kernel_name(p));
    kernel.params = built.kernel.params;
    kernel.axes = AXES.iter().zip(kinds).map(|((name, _), kind)| Axis { name: (*name).to_owned(), kind }).collect();
    kernel.buffers = buffers;
    kernel.vars = AXES.iter().map(|(_, var)| (*var).to_owned()).collect();
    let epilogue = epilogue.map(|e| without_lets(e, &built.kernel.body));
    kernel.iterations = vec![Iteration { epilogue, ..iteration }];
    Ok(Coordinates { kernel, data, values, params: built.params })
}

fn kernel_name(p: &WeightProblem) -> &'static str {
    if p.rows == Window::POINT && p.cols == Window::POINT { "linear" } else { "conv" }
}

fn axes_of_iteration() -> Vec<(AxisId, VarId, IterKind)> {
    let kind = |axis: u32| if AxisId(axis) == COLUMNS { IterKind::Reduction } else { IterKind::Spatial };
    (0..AXES.len() as u32).map(|i| (AxisId(i), VarId(i), kind(i))).collect()
}

fn dense_buffer(c: &mut Context, name: &str, view: &View, output: bool) -> CoordinateBuffer {
    CoordinateBuffer { name: name.to_owned(), elem: view.elem, shape: c.dims(&view.shape), axes: Vec::new(), output }
}

/// The element of X that column `j` of the weight meets at an output pixel.
fn input(p: &WeightProblem, [b, oh, ow, j]: [Expr; 4]) -> Expr {
    let (kh, kw) = (p.rows.kernel as i64, p.cols.kernel as i64);
    let channel = j.clone().floor_div(Expr::int(kh * kw));
    let row = if kh == 1 { Expr::int(0) } else { j.clone().floor_div(Expr::int(kw)).rem(Expr::int(kh)) };
    let col = if kw == 1 { Expr::int(0) } else { j.rem(Expr::int(kw)) };
    let pixel = |window: &Window, o: Expr, k: Expr| {
        o * Expr::int(window.stride as i64) + k * Expr::int(window.dilation as i64) - Expr::int(window.pad)
    };
    let index = vec![b, channel, pixel(&p.rows, oh, row), pixel(&p.cols, ow, col)];
    let inside = p.rows == Window::POINT && p.cols == Window::POINT && p.x.shape[2..] == p.y.shape[2..];
    Expr::Load(Access { padded: !inside, ..Access::element(X, index) })
}

/// What is stored, given that the sum lies in the target.
fn epilogue(c: &mut Context, p: &WeightProblem, at: &[Expr; 4]) -> Expr {
    let args: Vec<BufferId> = (0..p.args.len() as u32).map(|i| BufferId(FIRST_ARG + i)).collect();
    let sum = load(Y, at.to_vec());
    converted(epilogue_value(c, p, &args, at, sum), p.y.elem)
}

/// The expression with the values that it names written out: Stage I has no `let`.
fn without_lets(e: Expr, lets: &[Stmt]) -> Expr {
    lets.iter().skip(AXES.len()).rev().fold(e, |e, stmt| match stmt {
        Stmt::Let(var, value) => e.replace_var(*var, value),
        _ => e,
    })
}
