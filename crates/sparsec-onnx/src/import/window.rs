//! Windows that slide over the spatial axes, as convolutions and poolings describe them.

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
        let mut window = Window { kernel, strides, pads: vec![(0, 0); spatial], dilations };
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
