//! The pinned tools run here, and their reports are read.

use sparsec_ptxas::{Ptxas, ToolError, Tools};

const DOUBLE: &str = "\
.version 8.5
.target sm_80
.address_size 64
.visible .entry double(.param .u64 p)
.maxntid 128, 1, 1
{
    .reg .b64 %rd<3>;
    .reg .b32 %r<2>;
    .reg .f32 %f<2>;
    .shared .align 16 .b8 tile[512];
    ld.param.u64 %rd0, [p];
    cvta.to.global.u64 %rd1, %rd0;
    mov.u32 %r0, %tid.x;
    mul.wide.u32 %rd2, %r0, 4;
    add.u64 %rd1, %rd1, %rd2;
    ld.global.f32 %f0, [%rd1];
    mov.u32 %r1, tile;
    shl.b32 %r0, %r0, 2;
    add.u32 %r1, %r1, %r0;
    st.shared.f32 [%r1], %f0;
    bar.sync 0;
    ld.shared.f32 %f1, [%r1];
    add.f32 %f0, %f0, %f1;
    st.global.f32 [%rd1], %f0;
    ret;
}
";

#[test]
fn both_assemblers_take_both_targets() {
    let Some(tools) = Tools::find() else { return };
    for ptxas in Ptxas::ALL {
        for target in ["sm_80", "sm_90a"] {
            let assembled = tools.assemble(ptxas, DOUBLE, target).unwrap_or_else(|e| panic!("{ptxas} {target}: {e}"));
            let usage = assembled.usage["double"];
            assert_eq!((usage.shared, usage.barriers, usage.spill_stores), (512, 1, 0), "{ptxas} {target}");
            assert!((4..=32).contains(&usage.registers), "{ptxas} {target}: {usage:?}");
            let mnemonics = tools.mnemonics(&assembled.cubin).unwrap_or_else(|e| panic!("{ptxas} {target}: {e}"));
            let count = |start: &str| -> usize {
                mnemonics.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, n)| n).sum()
            };
            assert_eq!([count("FADD"), count("STS"), count("STG"), count("HMMA")], [1, 1, 1, 0], "{mnemonics:?}");
        }
    }
}

#[test]
fn wrong_ptx_is_refused_with_its_line() {
    let Some(tools) = Tools::find() else { return };
    for ptxas in Ptxas::ALL {
        let wrong = DOUBLE.replace("add.f32 %f0", "bogus.f32 %f0");
        match tools.assemble(ptxas, &wrong, "sm_80") {
            Err(ToolError::Refused { message, .. }) => assert!(message.contains("line 23"), "{message}"),
            other => panic!("{ptxas}: {other:?}"),
        }
    }
}
