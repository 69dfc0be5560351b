//! What only `sm_90a` has.

use super::Parse;
use super::operand::Operands;
use crate::{GroupA, GroupMma, Hopper, RegClass, SparseA, Type};

/// The instruction of this name; `None` where there is none.
pub(super) fn hopper(modifiers: &[&str], x: &mut Operands<'_>) -> Parse<Option<Hopper>> {
    Ok(Some(match modifiers {
        ["wgmma", "fence", "sync", "aligned"] => Hopper::GroupFence,
        ["wgmma", "commit_group", "sync", "aligned"] => Hopper::GroupCommit,
        ["wgmma", "wait_group", "sync", "aligned"] => Hopper::GroupWait { pending: x.number()? },
        ["wgmma", "mma_async", "sync", "aligned", shape, "f32", inputs, second] if inputs == second => {
            return product(shape, inputs, false, x);
        }
        ["wgmma", "mma_async", "sp", "sync", "aligned", shape, "f32", inputs, second] if inputs == second => {
            return product(shape, inputs, true, x);
        }
        ["fence", "proxy", "async", "shared::cta"] => Hopper::FenceProxyAsync,
        ["mbarrier", "init", "shared::cta", "b64"] => Hopper::BarrierInit { address: x.address()?, count: x.number()? },
        ["mbarrier", "arrive", "expect_tx", "shared::cta", "b64"] => {
            if x.text()? != "_" {
                return Err("the state of an arrival is not kept: `_` should stand for it".to_owned());
            }
            Hopper::BarrierExpect { address: x.address()?, bytes: x.operand()? }
        }
        ["mbarrier", "try_wait", "parity", "shared::cta", "b64"] => {
            Hopper::BarrierTryWait { dst: x.reg()?, address: x.address()?, parity: x.operand()? }
        }
        ["cp", "async", "bulk", "shared::cluster", "global", "mbarrier::complete_tx::bytes"] => {
            Hopper::CopyBulk { dst: x.address()?, src: x.address()?, bytes: x.operand()?, barrier: x.address()? }
        }
        _ => return Ok(None),
    }))
}

fn product(shape: &str, inputs: &str, is_sparse: bool, x: &mut Operands<'_>) -> Parse<Option<Hopper>> {
    let n = shape.strip_prefix("m64n").and_then(|rest| rest.split_once('k')).and_then(|(n, _)| n.parse().ok());
    let (Some(n), Some(inputs)) = (n, Type::from_name(inputs)) else { return Ok(None) };
    let (d, a, b) = (x.regs()?, x.regs()?, x.reg()?);
    let sparse = if is_sparse { Some(SparseA { metadata: x.reg()?, selector: x.number()? }) } else { None };
    let add = x.reg()?;
    let negate = [sign(x)?, sign(x)?];
    let has_flags = inputs.bits() == 16;
    let mut flag = || if has_flags { flag(x) } else { Ok(false) };
    let a = match a.as_slice() {
        [descriptor] if descriptor.class == RegClass::B64 => {
            GroupA::Shared { descriptor: *descriptor, transpose: flag()? }
        }
        _ => GroupA::Registers(a),
    };
    let m = GroupMma { n, inputs, sparse, d, a, b, transpose_b: flag()?, add, negate };
    Ok((m.shape() == shape).then_some(Hopper::GroupMma(m)))
}

/// `1`, or `-1`, for which the factor is negated.
fn sign(x: &mut Operands<'_>) -> Parse<bool> {
    match x.text()? {
        "1" => Ok(false),
        "-1" => Ok(true),
        other => Err(format!("`{other}` is neither 1 nor -1")),
    }
}

fn flag(x: &mut Operands<'_>) -> Parse<bool> {
    match x.text()? {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(format!("`{other}` is neither 0 nor 1")),
    }
}
