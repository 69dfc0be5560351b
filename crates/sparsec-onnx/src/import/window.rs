//! Windows that slide over the spatial axes, as convolutions and poolings describe them.

use sparsec_graph::{Dim, Op, SliceAxis};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

/// Largest window, stride, dilation or padding.
const MAX_EXTENT: i64 = 1 << 31;

/// One entry per spatial axis.
pub(super) struct Window {
    pub(super) kernel: Vec<i64>,
    pub(super) strides: Vec<i64>,
    pub(super) pads: Vec<(i64, i64)>,
    pub(super) dilations: Vec<i64>,
    /// Spatial axes whose padding depends on an extent that inputs decide: [`Window::surround`] adds it.
    open: Vec<usize>,
    /// Whether an odd element of padding stands after.
    upper: bool,
}

impl Window {
    /// The window of a node over `x` `[n, c, spatial...]`, with this kernel.
    pub(super) fn of(cx: &Context, node: &Node<'_>, x: Operand, kernel: Vec<i64>) -> Result<Self, Fault> {
        let spatial = cx
            .rank(x)
            .checked_sub(2)
            .filter(|&s| s > 0)
            .ok_or_else(|| Fault::invalid("the operand has no spatial dimensions"))?;
        let list = |name: &str, default: i64| -> Result<Vec<i64>, Fault> {
            let list = node.ints(name)?.map_or_else(|| vec![default; spatial], <[i64]>::to_vec);
            check(name, &list, spatial, 1)?;
            Ok(list)
        };
        check("kernel_shape", &kernel, spatial, 1)?;
        let (strides, dilations) = (list("strides", 1)?, list("dilations", 1)?);
        let pads = vec![(0, 0); spatial];
        let mut window = Window { kernel, strides, pads, dilations, open: Vec::new(), upper: true };
        match node.string("auto_pad")?.unwrap_or("NOTSET") {
            "NOTSET" | "" => window.explicit_pads(node)?,
            "VALID" => {}
            "SAME_UPPER" => window.same_pads(cx, x, true)?,
            "SAME_LOWER" => window.same_pads(cx, x, false)?,
            other => return Err(Fault::attribute("auto_pad", format!("is `{other}`"))),
        }
        Ok(window)
    }

    fn explicit_pads(&mut self, node: &Node<'_>) -> Result<(), Fault> {
        let Some(pads) = node.ints("pads")? else { return Ok(()) };
        check("pads", pads, 2 * self.pads.len(), 0)?;
        let (before, after) = pads.split_at(self.pads.len());
        self.pads = before.iter().copied().zip(after.iter().copied()).collect();
        Ok(())
    }

    /// Such padding that the result has `ceil(extent / stride)` elements; an odd one stands after (`upper`) or before.
    fn same_pads(&mut self, cx: &Context, x: Operand, upper: bool) -> Result<(), Fault> {
        let shape = cx.shape(x);
        self.upper = upper;
        for (i, pads) in self.pads.iter_mut().enumerate() {
            let reach = (self.kernel[i] - 1).saturating_mul(self.dilations[i]);
            let total = match shape[i + 2].as_const() {
                Some(extent) => {
                    let outputs = extent.saturating_add(self.strides[i] - 1) / self.strides[i];
                    ((outputs - 1).saturating_mul(self.strides[i]))
                        .saturating_add(reach + 1)
                        .saturating_sub(extent)
                        .max(0)
                }
                None if self.strides[i] == 1 => reach,
                // Windows cover what lies between them, so the result's last one ends where the padding does.
                None if reach + 1 >= self.strides[i] => {
                    self.open.push(i);
                    0
                }
                None => {
                    let mut symbols = Default::default();
                    shape[i + 2].collect_symbols(&mut symbols);
                    let dims = symbols.iter().map(|s| s.name().to_owned()).collect();
                    let what = format!("the extent of dimension {}", i + 2);
                    return Err(Fault::Unresolved { what, dims, inputs: Vec::new() });
                }
            };
            let small = total / 2;
            *pads = if upper { (small, total - small) } else { (total - small, small) };
        }
        Ok(())
    }

    /// `x` with the padding that depends on its extents: as much as it can be at most, less what is too much.
    pub(super) fn surround(&self, cx: &mut Context, x: Operand, fill: f64) -> Result<Operand, Fault> {
        if self.open.is_empty() {
            return Ok(x);
        }
        let shape = cx.shape(x);
        let mut amounts = vec![(0, 0); shape.len()];
        let whole = |len: &Dim| SliceAxis { start: Dim::constant(0), len: len.clone(), step: 1 };
        let mut ranges: Vec<SliceAxis> = shape.iter().map(whole).collect();
        for &i in &self.open {
            let (stride, size) = (self.strides[i], (self.kernel[i] - 1).saturating_mul(self.dilations[i]) + 1);
            let extent = &shape[i + 2];
            let outputs = extent.ceil_div(&Dim::constant(stride));
            let len = (outputs - Dim::constant(1)) * Dim::constant(stride) + Dim::constant(size);
            let total = len.clone() - extent.clone();
            let odd = Dim::constant(i64::from(!self.upper));
            let before = (total + odd).floor_div(&Dim::constant(2));
            // The most that either end gets.
            let most = size / 2 + 1;
            amounts[i + 2] = (most, most);
            ranges[i + 2] = SliceAxis { start: Dim::constant(most) - before, len, step: 1 };
        }
        let padded = cx.append(Op::Pad { amounts, value: fill }, &[x])?;
        cx.append(Op::Slice(ranges), &[padded])
    }

    /// An error where padding depends on extents that inputs decide: for operators that can't add it themselves.
    pub(super) fn closed(self, cx: &Context, x: Operand) -> Result<Self, Fault> {
        let Some(i) = self.open.first() else { return Ok(self) };
        let mut symbols = std::collections::BTreeSet::new();
        cx.shape(x)[i + 2].collect_symbols(&mut symbols);
        let dims = symbols.iter().map(|s| s.name().to_owned()).collect();
        Err(Fault::Unresolved { what: format!("the extent of dimension {}", i + 2), dims, inputs: Vec::new() })
    }
}

fn check(name: &str, list: &[i64], count: usize, least: i64) -> Result<(), Fault> {
    if list.len() != count {
        return Err(Fault::attribute(name, format!("has {} entries, but {count} are needed", list.len())));
    }
    if list.iter().any(|&v| v < least || v > MAX_EXTENT) {
        return Err(Fault::attribute(name, format!("is {list:?}: entries must be between {least} and {MAX_EXTENT}")));
    }
    Ok(())
}
