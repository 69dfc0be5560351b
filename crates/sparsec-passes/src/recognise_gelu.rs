//! Recognises spelled-out activations: GELU with the error function, GELU with the hyperbolic tangent, SiLU.
//!
//! Exporters write `0.5 * x * (1 + erf(x / sqrt 2))` with the factors in any order and grouping, and division or
//! multiplication by the constant. So a product is taken apart into its factors, through single-use multiplications,
//! and compared as a whole. `x` itself is used more than once in every such pattern, which is where taking apart stops.

use sparsec_graph::{BinaryOp, Graph, NodeId, Op, UnaryOp, ValueId};

use crate::matching::{binary_operands, close, is_single_use, plain, replace_node, scalar, unary_operand, with_scalar};
use crate::{PassError, PassStats};

/// Replaces spelled-out GELU (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016; both forms) and SiLU by one
/// operator each.
///
/// # Errors
/// None on a verified graph.
pub fn recognise_gelu(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.topological_order().into_iter().rev() {
        if !graph.contains(id) || graph.node(id).op != Op::Binary(BinaryOp::Mul) {
            continue;
        }
        if let Some((activation, x)) = activation(graph, id) {
            replace_node(graph, id, Op::Unary(activation), &[x])?;
            stats.changed += 1;
        }
    }
    Ok(stats)
}

fn activation(graph: &Graph, id: NodeId) -> Option<(UnaryOp, ValueId)> {
    let result = graph.node(id).result();
    plain(graph, result)?;
    let product = Product::of_root(graph, result);
    let &[a, b] = product.factors.as_slice() else { return None };
    let found = [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        if close(product.constant, 1.0) && unary_operand(graph, gate, UnaryOp::Sigmoid) == Some(x) {
            return Some((UnaryOp::Silu, x));
        }
        if !close(product.constant, 0.5) {
            return None;
        }
        let (inner, one) = with_scalar(graph, gate, BinaryOp::Add)?;
        if one != 1.0 {
            None
        } else if let Some(argument) = unary_operand(graph, inner, UnaryOp::Erf) {
            is_scaled(graph, argument, x, std::f64::consts::FRAC_1_SQRT_2).then_some((UnaryOp::Gelu, x))
        } else {
            let argument = unary_operand(graph, inner, UnaryOp::Tanh)?;
            is_tanh_argument(graph, argument, x).then_some((UnaryOp::GeluTanh, x))
        }
    })?;
    (graph.ty(found.1) == graph.ty(result)).then_some(found)
}

/// No pattern has more factors; also a bound on recursion.
const MAX_DEPTH: usize = 8;

/// A product, taken apart.
struct Product {
    constant: f64,
    factors: Vec<ValueId>,
}

impl Product {
    fn of_root(graph: &Graph, value: ValueId) -> Self {
        let mut product = Product { constant: 1.0, factors: Vec::new() };
        match binary_operands(graph, value, BinaryOp::Mul) {
            Some((x, y)) => {
                product.take_apart(graph, x, MAX_DEPTH);
                product.take_apart(graph, y, MAX_DEPTH);
            }
            None => product.factors.push(value),
        }
        product
    }

    fn of(graph: &Graph, value: ValueId) -> Self {
        let mut product = Product { constant: 1.0, factors: Vec::new() };
        product.take_apart(graph, value, MAX_DEPTH);
        product
    }

    /// Adds the factors of `value`. What is used elsewhere too is one factor.
    fn take_apart(&mut self, graph: &Graph, value: ValueId, depth: usize) {
        if let Some(c) = scalar(graph, value) {
            self.constant *= c;
        } else if depth == 0 || !is_single_use(graph, value) {
            self.factors.push(value);
        } else if let Some((x, y)) = binary_operands(graph, value, BinaryOp::Mul) {
            self.take_apart(graph, x, depth - 1);
            self.take_apart(graph, y, depth - 1);
        } else if let Some((x, c)) = with_scalar(graph, value, BinaryOp::Div) {
            self.constant /= c;
            self.take_apart(graph, x, depth - 1);
        } else if let Some((x, n)) = with_scalar(graph, value, BinaryOp::Pow).filter(|(_, n)| [2.0, 3.0].contains(n)) {
            self.factors.extend(std::iter::repeat_n(x, n as usize));
        } else {
            self.factors.push(value);
        }
    }

    fn is(&self, constant: f64, factors: &[ValueId]) -> bool {
        close(self.constant, constant) && self.factors == factors
    }
}

/// Whether `value` is `x * factor`, also where it is spelled `x / (1 / factor)`.
fn is_scaled(graph: &Graph, value: ValueId, x: ValueId, factor: f64) -> bool {
    Product::of(graph, value).is(factor, &[x])
}

/// Whether `value` is `sqrt(2/pi) * (x + 0.044715 x^3)`, or that with `x` before the bracket.
fn is_tanh_argument(graph: &Graph, value: ValueId, x: ValueId) -> bool {
    const CUBIC: f64 = 0.044715;
    let product = Product::of(graph, value);
    if !close(product.constant, (2.0 / std::f64::consts::PI).sqrt()) {
        return false;
    }
    match *product.factors.as_slice() {
        [sum] => binary_operands(graph, sum, BinaryOp::Add).is_some_and(|(a, b)| {
            [(a, b), (b, a)].into_iter().any(|(linear, cubic)| linear == x && is_power(graph, cubic, CUBIC, x, 3))
        }),
        [a, b] => [(a, b), (b, a)].into_iter().any(|(factor, sum)| {
            let parts = with_scalar(graph, sum, BinaryOp::Add);
            factor == x && parts.is_some_and(|(square, one)| one == 1.0 && is_power(graph, square, CUBIC, x, 2))
        }),
        _ => false,
    }
}

/// Whether `value` is `constant * x^n`. Powers that are spelled as products of shared squares count too.
fn is_power(graph: &Graph, value: ValueId, constant: f64, x: ValueId, n: usize) -> bool {
    Product::of(graph, value).is(constant, &vec![x; n])
}
