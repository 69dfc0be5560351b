//! What only `sm_90a` has.

use crate::{GroupA, GroupMma, Hopper, Operand, Target, Type};

pub(super) fn check_hopper(target: Target, instruction: &Hopper, say: &mut dyn FnMut(String)) {
    let mut check = |holds: bool, message: &str| {
        if !holds {
            say(message.to_owned());
        }
    };
    check(target == Target::Sm90a, "only sm_90a has the instruction");
    match instruction {
        Hopper::GroupMma(m) => check_product(m, &mut check),
        // The count is one of 20 bits.
        Hopper::BarrierInit { count, .. } => {
            check((1..1 << 20).contains(count), "a barrier has 1 to 1048575 arrivals");
        }
        Hopper::BarrierExpect { bytes: Operand::Int(bytes), .. } => {
            check((0..1 << 20).contains(bytes), "a barrier counts up to 1048575 bytes");
        }
        Hopper::CopyBulk { bytes: Operand::Int(bytes), .. } => {
            check(*bytes > 0 && bytes % 16 == 0, "a multiple of 16 bytes is copied");
        }
        _ => {}
    }
}

fn check_product(m: &GroupMma, check: &mut dyn FnMut(bool, &str)) {
    check(m.n.is_multiple_of(8) && (8..=256).contains(&m.n), "there are 8, 16, ... 256 columns");
    let halves = matches!(m.inputs, Type::F16 | Type::Bf16);
    check(halves || m.inputs == Type::Tf32, "there is no product of these types");
    check(m.d.len() as u32 == m.n / 2, "a thread has half as many sums as there are columns");
    let transposed = m.transpose_b || matches!(m.a, GroupA::Shared { transpose: true, .. });
    check(halves || !transposed, "only factors of 16 bits are transposed");
    if let GroupA::Registers(a) = &m.a {
        check(a.len() == 4, "the fragment of A has 4 registers");
    }
    if let Some(sparse) = m.sparse {
        check(halves, "only sparse factors of 16 bits are known here");
        check(sparse.selector < 2, "the selector is below 2");
    }
}
