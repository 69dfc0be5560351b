//! The text of what only `sm_90a` has.

use super::{Printer, braces};
use crate::{GroupA, GroupMma, Hopper};

/// What stands before the operands.
pub(super) fn mnemonic(instruction: &Hopper) -> String {
    let name = match instruction {
        Hopper::GroupFence => "wgmma.fence.sync.aligned",
        Hopper::GroupMma(m) => {
            let sparse = if m.sparse.is_some() { ".sp" } else { "" };
            return format!("wgmma.mma_async{sparse}.sync.aligned.{}.f32.{}.{}", m.shape(), m.inputs, m.inputs);
        }
        Hopper::GroupCommit => "wgmma.commit_group.sync.aligned",
        Hopper::GroupWait { .. } => "wgmma.wait_group.sync.aligned",
        Hopper::FenceProxyAsync => "fence.proxy.async.shared::cta",
        Hopper::BarrierInit { .. } => "mbarrier.init.shared::cta.b64",
        Hopper::BarrierExpect { .. } => "mbarrier.arrive.expect_tx.shared::cta.b64",
        Hopper::BarrierTryWait { .. } => "mbarrier.try_wait.parity.shared::cta.b64",
        Hopper::CopyBulk { .. } => "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes",
    };
    name.to_owned()
}

impl Printer<'_> {
    pub(super) fn hopper(&self, instruction: &Hopper) -> Vec<String> {
        match instruction {
            Hopper::GroupMma(m) => product(m),
            Hopper::GroupWait { pending } => vec![pending.to_string()],
            Hopper::BarrierInit { address, count } => vec![self.address(*address), count.to_string()],
            Hopper::BarrierExpect { address, bytes } => {
                vec!["_".to_owned(), self.address(*address), self.operand(*bytes)]
            }
            Hopper::BarrierTryWait { dst, address, parity } => {
                vec![dst.to_string(), self.address(*address), self.operand(*parity)]
            }
            Hopper::CopyBulk { dst, src, bytes, barrier } => {
                vec![self.address(*dst), self.address(*src), self.operand(*bytes), self.address(*barrier)]
            }
            Hopper::GroupFence | Hopper::GroupCommit | Hopper::FenceProxyAsync => Vec::new(),
        }
    }
}

fn product(m: &GroupMma) -> Vec<String> {
    let flag = |set: bool| u32::from(set).to_string();
    let mut all = vec![braces(m.d.iter().map(ToString::to_string))];
    all.push(match &m.a {
        GroupA::Registers(a) => braces(a.iter().map(ToString::to_string)),
        GroupA::Shared { descriptor, .. } => descriptor.to_string(),
    });
    all.push(m.b.to_string());
    if let Some(s) = m.sparse {
        all.extend([s.metadata.to_string(), s.selector.to_string()]);
    }
    all.push(m.add.to_string());
    all.extend(m.negate.map(|negate| if negate { "-1" } else { "1" }.to_owned()));
    if m.inputs.bits() == 16 {
        if let GroupA::Shared { transpose, .. } = m.a {
            all.push(flag(transpose));
        }
        all.push(flag(m.transpose_b));
    }
    all
}
