//! Convolution.

use sparsec_graph::{ConvAttrs, Op};

use super::context::{Context, Operand};
use super::node::Node;
use super::window::Window;
use crate::error::Fault;

/// `Conv`: x `[n, c, spatial...]`, w `[m, c/groups, kernel...]`, and optionally a bias `[m]`.
pub(super) fn conv(cx: &mut Context, node: &Node<'_>) -> Result<Vec<Operand>, Fault> {
    let (x, w) = (node.input(0)?, node.input(1)?);
    let window = window(cx, node, x, w)?;
    let x = window.surround(cx, x, 0.0)?;
    let attrs = with_groups(node, window)?;
    let operands: Vec<Operand> = [x, w].into_iter().chain(node.optional(2)).collect();
    Ok(vec![cx.append(Op::Conv(attrs), &operands)?])
}

/// The attributes of a convolution of `x` with `w`, which is to be padded as they say.
pub(super) fn attributes(cx: &Context, node: &Node<'_>, x: Operand, w: Operand) -> Result<ConvAttrs, Fault> {
    with_groups(node, window(cx, node, x, w)?.closed(cx, x)?)
}

fn with_groups(node: &Node<'_>, window: Window) -> Result<ConvAttrs, Fault> {
    let groups = node.int_or("group", 1)?;
    Ok(ConvAttrs { strides: window.strides, pads: window.pads, dilations: window.dilations, groups })
}

fn window(cx: &Context, node: &Node<'_>, x: Operand, w: Operand) -> Result<Window, Fault> {
    let weight = cx.ty(w).const_shape().ok_or_else(|| cx.unresolved(w, "the shape of the weight"))?;
    let kernel = weight.get(2..).unwrap_or_default().to_vec();
    if let Some(declared) = node.ints("kernel_shape")?
        && declared != kernel
    {
        return Err(Fault::attribute("kernel_shape", format!("is {declared:?}, but the weight's is {kernel:?}")));
    }
    Window::of(cx, node, x, kernel)
}
