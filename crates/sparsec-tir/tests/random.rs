//! Properties of random kernels: neighbouring stages compute the same, verifiers accept what lowering makes, and the
//! text form is exact.

mod generate;

use proptest::prelude::*;
use sparsec_tir::{
    Kernel, expand_math, lower_to_flat, parse_kernel, print_kernel, run_kernel, verify_flat, verify_machine,
    verify_position,
};

fn run(kernel: &Kernel, n: i64) -> Vec<Vec<u8>> {
    let mut buffers = generate::arguments();
    run_kernel(kernel, &[n], &mut buffers).unwrap_or_else(|e| panic!("{e}\n{}", print_kernel(kernel)));
    buffers.into_iter().map(|b| b.bytes).collect()
}

fn check_text(kernel: &Kernel) {
    let text = print_kernel(kernel);
    let parsed = parse_kernel(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(print_kernel(&parsed), text);
    assert!(parsed == *kernel, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn stages_agree(bytes in prop::collection::vec(any::<u8>(), 0..120), n in 0_i64..=24) {
        let kernel = generate::kernel(&bytes);
        verify_position(&kernel).unwrap_or_else(|e| panic!("{e}\n{}", print_kernel(&kernel)));
        let mut flat = lower_to_flat(&kernel).unwrap();
        verify_flat(&flat).unwrap_or_else(|e| panic!("{e}\n{}", print_kernel(&flat)));
        prop_assert!(run(&kernel, n) == run(&flat, n), "{}\n{}", print_kernel(&kernel), print_kernel(&flat));
        check_text(&kernel);
        check_text(&flat);
        expand_math(&mut flat).unwrap();
        verify_machine(&flat).unwrap_or_else(|e| panic!("{e}\n{}", print_kernel(&flat)));
        check_text(&flat);
    }

    #[test]
    fn parser_never_panics(text in "\\PC{0,80}", cut in 0_usize..4000, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse_kernel(&text);
        let whole = print_kernel(&generate::kernel(&bytes));
        let cut = cut % (whole.len() - 1);
        if whole.is_char_boundary(cut) {
            prop_assert!(parse_kernel(&whole[..cut]).is_err());
            let _ = parse_kernel(&format!("{}{text}{}", &whole[..cut], &whole[cut..]));
        }
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let text = format!("kernel k flat () {{ reg r: f32 r = {}1.0{} }}", "(".repeat(5000), ")".repeat(5000));
    assert!(parse_kernel(&text).unwrap_err().message.contains("nested deeper"));
    let text = format!("kernel k flat () {{ {}", "if true { ".repeat(5000));
    assert!(parse_kernel(&text).unwrap_err().message.contains("nested deeper"));
    let text = format!("kernel k flat () {{ reg r: f32 r = 1.0{} }}", " + 1.0".repeat(5000));
    assert!(parse_kernel(&text).unwrap_err().message.contains("more than"));
}
