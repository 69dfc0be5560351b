//! Which function imports which operator.

use super::context::{Context, Operand};
use super::node::Node;
use super::{
    activation, attention, cast, constant, conv, conv_transpose, einsum, elementwise, found, index, integer, loss,
    matmul, microsoft, ml, ngrams, normalize, pad, pool, quantize, quantize_microsoft, random, rearrange, recurrent,
    reduce, reshape, resize, rotary, running, scatter, sequence, shape, signal, slice, sort, spectrum, strings,
    training, trigonometry, vision,
};
use crate::error::Fault;

/// Appends what a node means and gives its results, in order. Results that nobody asks for may be left out.
pub(super) type Handler = fn(&mut Context, &Node<'_>) -> Result<Vec<Operand>, Fault>;

/// The handler of an operator; the standard domain is the empty name.
pub(super) fn handler(domain: &str, op: &str) -> Option<Handler> {
    let table = match domain {
        "" => STANDARD,
        "ai.onnx.ml" => ML,
        "com.microsoft" => MICROSOFT,
        "ai.onnx.preview.training" => TRAINING,
        _ => return None,
    };
    let more: &[(&str, Handler)] = if domain.is_empty() { SEQUENCE } else { &[] };
    let found = table.iter().chain(more).find(|(name, _)| *name == op).map(|(_, handler)| *handler);
    found.or_else(|| (domain.is_empty() && strings::NAMES.contains(&op)).then_some(strings::no_texts as Handler))
}

/// The operators that hold graphs; [`super::control`] reads them.
const CONTROL: &[&str] = &["If", "Loop", "Scan", "SequenceMap"];

/// The domain and the operator that differentiates the graph around it.
const GRADIENT: (&str, &str) = ("ai.onnx.preview.training", "Gradient");

/// Whether an operator holds graphs, or names values of the graph around it.
pub(super) fn is_control(domain: &str, op: &str) -> bool {
    (domain.is_empty() && CONTROL.contains(&op)) || (domain, op) == GRADIENT
}

/// Whether an operator takes sequences and optional values.
pub(super) fn takes_sequences(domain: &str, op: &str) -> bool {
    domain.is_empty() && (op == "Identity" || SEQUENCE.iter().any(|(name, _)| *name == op))
}

/// Whether an operator passes on what it is given, whatever that is.
pub(super) fn takes_anything(domain: &str, op: &str) -> bool {
    domain.is_empty() && op != "SplitToSequence" && SEQUENCE.iter().any(|(name, _)| *name == op)
}

/// The operators that are read, as pairs of domain (`ai.onnx` is the standard one) and name.
pub fn supported_ops() -> impl Iterator<Item = (&'static str, &'static str)> {
    let standard = STANDARD.iter().chain(SEQUENCE).map(|(name, _)| *name).chain(CONTROL.iter().copied());
    let standard = standard.chain(strings::NAMES.iter().copied());
    let ml = ML.iter().map(|(name, _)| ("ai.onnx.ml", *name));
    let microsoft = MICROSOFT.iter().map(|(name, _)| ("com.microsoft", *name));
    let training = TRAINING.iter().map(|(name, _)| ("ai.onnx.preview.training", *name));
    standard.map(|name| ("ai.onnx", name)).chain(ml).chain(microsoft).chain(training).chain([GRADIENT])
}

const TRAINING: &[(&str, Handler)] =
    &[("Adagrad", training::adagrad), ("Adam", training::adam), ("Momentum", training::momentum)];

const ML: &[(&str, Handler)] = &[
    ("ArrayFeatureExtractor", ml::array_feature_extractor),
    ("Binarizer", ml::binarizer),
    ("LabelEncoder", strings::label_encoder),
    ("TreeEnsemble", ml::tree_ensemble),
];

const MICROSOFT: &[(&str, Handler)] = &[
    ("BiasAdd", microsoft::bias_add),
    ("BiasGelu", activation::bias_gelu),
    ("DequantizeLinear", quantize::dequantize_linear),
    ("DynamicQuantizeMatMul", quantize_microsoft::dynamic_matmul),
    ("DynamicQuantizeLSTM", recurrent::dynamic_quantize_lstm),
    ("EmbedLayerNormalization", microsoft::embed_layer_normalization),
    ("FastGelu", activation::fast_gelu),
    ("FusedMatMul", microsoft::fused_matmul),
    ("Gelu", activation::gelu),
    ("MatMulIntegerToFloat", quantize_microsoft::matmul_to_float),
    ("MultiHeadAttention", attention::multi_head_attention),
    ("QGemm", quantize_microsoft::gemm),
    ("QLinearAdd", quantize_microsoft::add),
    ("QLinearConcat", quantize_microsoft::concat),
    ("QLinearGlobalAveragePool", quantize_microsoft::unary),
    ("QLinearLeakyRelu", quantize_microsoft::unary),
    ("QLinearMul", quantize_microsoft::multiply),
    ("QLinearSigmoid", quantize_microsoft::unary),
    ("QLinearSoftmax", quantize_microsoft::unary),
    ("QuantizeLinear", quantize::quantize_linear),
    ("QuickGelu", activation::quick_gelu),
    ("RotaryEmbedding", rotary::rotary_embedding_of_microsoft),
    ("SimplifiedLayerNormalization", microsoft::rms_normalization),
    ("SkipLayerNormalization", microsoft::skip_layer_normalization),
    ("SkipSimplifiedLayerNormalization", microsoft::skip_rms_normalization),
];

/// Operators on sequences and optional values.
const SEQUENCE: &[(&str, Handler)] = &[
    ("ConcatFromSequence", sequence::concat_from_sequence),
    ("Optional", sequence::optional),
    ("OptionalGetElement", sequence::optional_get_element),
    ("OptionalHasElement", sequence::optional_has_element),
    ("SequenceAt", sequence::sequence_at),
    ("SequenceConstruct", sequence::sequence_construct),
    ("SequenceEmpty", sequence::sequence_empty),
    ("SequenceErase", sequence::sequence_erase),
    ("SequenceInsert", sequence::sequence_insert),
    ("SequenceLength", sequence::sequence_length),
    ("SplitToSequence", sequence::split_to_sequence),
];

const STANDARD: &[(&str, Handler)] = &[
    ("Abs", elementwise::unary),
    ("Acos", trigonometry::acos),
    ("Acosh", trigonometry::acosh),
    ("Add", elementwise::binary),
    ("AffineGrid", signal::affine_grid),
    ("And", elementwise::binary),
    ("ArgMax", sort::arg),
    ("ArgMin", sort::arg),
    ("Asin", trigonometry::asin),
    ("Asinh", trigonometry::asinh),
    ("Atan", trigonometry::atan),
    ("Atanh", trigonometry::atanh),
    ("Attention", attention::attention),
    ("AveragePool", pool::average_pool),
    ("BatchNormalization", normalize::batch_normalization),
    ("Bernoulli", random::bernoulli),
    ("BitShift", integer::bit_shift),
    ("BitwiseAnd", integer::bitwise),
    ("BitwiseNot", integer::bitwise_not),
    ("BitwiseOr", integer::bitwise),
    ("BitwiseXor", integer::bitwise),
    ("BlackmanWindow", signal::window),
    ("Cast", cast::cast),
    ("CastLike", cast::cast_like),
    ("Ceil", elementwise::unary),
    ("Celu", activation::celu),
    ("CenterCropPad", pad::center_crop_pad),
    ("Clip", elementwise::clip),
    ("Col2Im", vision::col2im),
    ("Compress", found::compress),
    ("Concat", slice::concat),
    ("Constant", constant::constant),
    ("ConstantOfShape", constant::constant_of_shape),
    ("Conv", conv::conv),
    ("ConvInteger", quantize::conv_integer),
    ("ConvTranspose", conv_transpose::conv_transpose),
    ("Cos", elementwise::unary),
    ("Cosh", trigonometry::cosh),
    ("CumSum", running::cum_sum),
    ("DFT", spectrum::dft),
    ("DeformConv", vision::deform_conv),
    ("DepthToSpace", rearrange::depth_to_space),
    ("DequantizeLinear", quantize::dequantize_linear),
    ("Det", running::det),
    ("Div", elementwise::binary),
    ("Dropout", elementwise::dropout),
    ("DynamicQuantizeLinear", quantize::dynamic_quantize_linear),
    ("Einsum", einsum::einsum),
    ("Elu", activation::elu),
    ("Equal", elementwise::binary),
    ("Erf", elementwise::unary),
    ("Exp", elementwise::unary),
    ("Expand", reshape::expand),
    ("EyeLike", index::eye_like),
    ("Flatten", reshape::flatten),
    ("Floor", elementwise::unary),
    ("GRU", recurrent::gru),
    ("Gather", slice::gather),
    ("GatherElements", scatter::gather_elements),
    ("GatherND", scatter::gather_nd),
    ("Gelu", activation::gelu),
    ("Gemm", matmul::gemm),
    ("GlobalAveragePool", pool::global_pool),
    ("GlobalLpPool", pool::global_lp_pool),
    ("GlobalMaxPool", pool::global_pool),
    ("Greater", elementwise::binary),
    ("GreaterOrEqual", elementwise::binary),
    ("GridSample", vision::grid_sample),
    ("GroupNormalization", normalize::group_normalization),
    ("HammingWindow", signal::window),
    ("HannWindow", signal::window),
    ("HardSigmoid", activation::hard_sigmoid),
    ("HardSwish", activation::hard_swish),
    ("Hardmax", index::hardmax),
    ("Identity", elementwise::identity),
    ("InstanceNormalization", normalize::instance_normalization),
    ("IsInf", elementwise::is_inf),
    ("IsNaN", elementwise::is_nan),
    ("LRN", normalize::lrn),
    ("LSTM", recurrent::lstm),
    ("LayerNormalization", normalize::layer_normalization),
    ("LeakyRelu", activation::leaky_relu),
    ("Less", elementwise::binary),
    ("LessOrEqual", elementwise::binary),
    ("Log", elementwise::unary),
    ("LogSoftmax", normalize::log_softmax),
    ("LpNormalization", normalize::lp_normalization),
    ("LpPool", pool::lp_pool),
    ("MatMul", matmul::matmul),
    ("MatMulInteger", quantize::matmul_integer),
    ("Max", elementwise::variadic),
    ("MaxPool", pool::max_pool),
    ("MaxUnpool", pool::max_unpool),
    ("Mean", elementwise::variadic),
    ("MeanVarianceNormalization", normalize::mean_variance_normalization),
    ("MelWeightMatrix", signal::mel_weight_matrix),
    ("Min", elementwise::variadic),
    ("Mish", activation::mish),
    ("Mod", integer::modulo),
    ("Mul", elementwise::binary),
    ("Multinomial", random::multinomial),
    ("Neg", elementwise::unary),
    ("NegativeLogLikelihoodLoss", loss::negative_log_likelihood),
    ("NonMaxSuppression", found::suppression),
    ("NonZero", found::nonzero),
    ("Not", elementwise::unary),
    ("OneHot", index::one_hot),
    ("Or", elementwise::binary),
    ("PRelu", activation::prelu),
    ("Pad", pad::pad),
    ("Pow", elementwise::pow),
    ("QLinearConv", quantize::qlinear_conv),
    ("QLinearMatMul", quantize::qlinear_matmul),
    ("QuantizeLinear", quantize::quantize_linear),
    ("RMSNormalization", normalize::rms_normalization),
    ("RNN", recurrent::rnn),
    ("RandomNormal", random::random),
    ("RandomNormalLike", random::random),
    ("RandomUniform", random::random),
    ("RandomUniformLike", random::random),
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
    ("Resize", resize::resize),
    ("ReverseSequence", running::reverse_sequence),
    ("RoiAlign", vision::roi_align),
    ("RotaryEmbedding", rotary::rotary_embedding),
    ("Round", elementwise::unary),
    ("STFT", spectrum::stft),
    ("Scatter", scatter::scatter_elements),
    ("ScatterElements", scatter::scatter_elements),
    ("ScatterND", scatter::scatter_nd),
    ("Selu", activation::selu),
    ("Shape", shape::shape),
    ("Shrink", activation::shrink),
    ("Sigmoid", elementwise::unary),
    ("Sign", activation::sign),
    ("Sin", elementwise::unary),
    ("Sinh", trigonometry::sinh),
    ("Size", shape::size),
    ("Slice", slice::slice),
    ("Softmax", normalize::softmax),
    ("SoftmaxCrossEntropyLoss", loss::softmax_cross_entropy),
    ("Softplus", activation::softplus),
    ("Softsign", activation::softsign),
    ("SpaceToDepth", rearrange::space_to_depth),
    ("Split", slice::split),
    ("Sqrt", elementwise::unary),
    ("Squeeze", reshape::squeeze),
    ("Sub", elementwise::binary),
    ("Sum", elementwise::variadic),
    ("Swish", activation::swish),
    ("Tan", trigonometry::tan),
    ("Tanh", elementwise::unary),
    ("TensorScatter", scatter::tensor_scatter),
    ("TfIdfVectorizer", ngrams::tf_idf_vectorizer),
    ("ThresholdedRelu", activation::thresholded_relu),
    ("Tile", rearrange::tile),
    ("TopK", sort::top_k),
    ("Transpose", reshape::transpose),
    ("Trilu", index::trilu),
    ("Unique", found::unique),
    ("Unsqueeze", reshape::unsqueeze),
    ("Upsample", resize::upsample),
    ("Where", elementwise::select),
    ("Xor", elementwise::xor),
];
