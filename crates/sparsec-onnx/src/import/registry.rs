//! Which function imports which operator.

use super::context::{Context, Operand};
use super::node::Node;
use super::{
    activation, cast, constant, conv, einsum, elementwise, matmul, normalize, pool, quantize, rearrange, reduce,
    reshape, shape, slice, sort,
};
use crate::error::Fault;

/// Appends what a node means and gives its results, in order. Results that nobody asks for may be left out.
pub(super) type Handler = fn(&mut Context, &Node<'_>) -> Result<Vec<Operand>, Fault>;

/// The handler of an operator; the standard domain is the empty name.
pub(super) fn handler(domain: &str, op: &str) -> Option<Handler> {
    let table = match domain {
        "" => STANDARD,
        "com.microsoft" => MICROSOFT,
        _ => return None,
    };
    table.iter().find(|(name, _)| *name == op).map(|(_, handler)| *handler)
}

/// The operators that are read, as pairs of domain (`ai.onnx` is the standard one) and name.
pub fn supported_ops() -> impl Iterator<Item = (&'static str, &'static str)> {
    let standard = STANDARD.iter().map(|(name, _)| ("ai.onnx", *name));
    standard.chain(MICROSOFT.iter().map(|(name, _)| ("com.microsoft", *name)))
}

const MICROSOFT: &[(&str, Handler)] =
    &[("BiasGelu", activation::bias_gelu), ("FastGelu", activation::fast_gelu), ("Gelu", activation::gelu)];

const STANDARD: &[(&str, Handler)] = &[
    ("Abs", elementwise::unary),
    ("Add", elementwise::binary),
    ("And", elementwise::binary),
    ("ArgMax", sort::arg),
    ("ArgMin", sort::arg),
    ("AveragePool", pool::average_pool),
    ("BatchNormalization", normalize::batch_normalization),
    ("Cast", cast::cast),
    ("CastLike", cast::cast_like),
    ("Ceil", elementwise::unary),
    ("Celu", activation::celu),
    ("Clip", elementwise::clip),
    ("Concat", slice::concat),
    ("Constant", constant::constant),
    ("ConstantOfShape", constant::constant_of_shape),
    ("Conv", conv::conv),
    ("ConvInteger", quantize::conv_integer),
    ("Cos", elementwise::unary),
    ("DepthToSpace", rearrange::depth_to_space),
    ("DequantizeLinear", quantize::dequantize_linear),
    ("Div", elementwise::binary),
    ("Dropout", elementwise::dropout),
    ("DynamicQuantizeLinear", quantize::dynamic_quantize_linear),
    ("Einsum", einsum::einsum),
    ("Elu", activation::elu),
    ("Equal", elementwise::binary),
    ("Erf", elementwise::unary),
    ("Exp", elementwise::unary),
    ("Expand", reshape::expand),
    ("Flatten", reshape::flatten),
    ("Floor", elementwise::unary),
    ("Gather", slice::gather),
    ("Gelu", activation::gelu),
    ("Gemm", matmul::gemm),
    ("GlobalAveragePool", pool::global_pool),
    ("GlobalMaxPool", pool::global_pool),
    ("Greater", elementwise::binary),
    ("GreaterOrEqual", elementwise::binary),
    ("GroupNormalization", normalize::group_normalization),
    ("HardSigmoid", activation::hard_sigmoid),
    ("HardSwish", activation::hard_swish),
    ("Identity", elementwise::identity),
    ("InstanceNormalization", normalize::instance_normalization),
    ("LayerNormalization", normalize::layer_normalization),
    ("LeakyRelu", activation::leaky_relu),
    ("Less", elementwise::binary),
    ("LessOrEqual", elementwise::binary),
    ("Log", elementwise::unary),
    ("LogSoftmax", normalize::log_softmax),
    ("MatMul", matmul::matmul),
    ("MatMulInteger", quantize::matmul_integer),
    ("Max", elementwise::variadic),
    ("MaxPool", pool::max_pool),
    ("Mean", elementwise::variadic),
    ("Min", elementwise::variadic),
    ("Mish", activation::mish),
    ("Mul", elementwise::binary),
    ("Neg", elementwise::unary),
    ("NonZero", sort::nonzero),
    ("Not", elementwise::unary),
    ("Or", elementwise::binary),
    ("PRelu", activation::prelu),
    ("Pad", slice::pad),
    ("Pow", elementwise::pow),
    ("QLinearConv", quantize::qlinear_conv),
    ("QLinearMatMul", quantize::qlinear_matmul),
    ("QuantizeLinear", quantize::quantize_linear),
    ("RMSNormalization", normalize::rms_normalization),
    ("Range", constant::range),
    ("Reciprocal", elementwise::unary),
    ("ReduceL1", reduce::reduce),
    ("ReduceL2", reduce::reduce),
    ("ReduceLogSum", reduce::log_sum),
    ("ReduceLogSumExp", reduce::log_sum_exp),
    ("ReduceMax", reduce::reduce),
    ("ReduceMean", reduce::reduce),
    ("ReduceMin", reduce::reduce),
    ("ReduceProd", reduce::reduce),
    ("ReduceSum", reduce::reduce),
    ("ReduceSumSquare", reduce::reduce),
    ("Relu", elementwise::unary),
    ("Reshape", reshape::reshape),
    ("Round", elementwise::unary),
    ("Selu", activation::selu),
    ("Shape", shape::shape),
    ("Sigmoid", elementwise::unary),
    ("Sign", activation::sign),
    ("Sin", elementwise::unary),
    ("Size", shape::size),
    ("Slice", slice::slice),
    ("Softmax", normalize::softmax),
    ("Softplus", activation::softplus),
    ("Softsign", activation::softsign),
    ("SpaceToDepth", rearrange::space_to_depth),
    ("Split", slice::split),
    ("Sqrt", elementwise::unary),
    ("Squeeze", reshape::squeeze),
    ("Sub", elementwise::binary),
    ("Sum", elementwise::variadic),
    ("Swish", activation::swish),
    ("Tan", activation::tan),
    ("Tanh", elementwise::unary),
    ("ThresholdedRelu", activation::thresholded_relu),
    ("Tile", rearrange::tile),
    ("TopK", sort::top_k),
    ("Transpose", reshape::transpose),
    ("Unsqueeze", reshape::unsqueeze),
    ("Where", elementwise::select),
    ("Xor", elementwise::xor),
];
