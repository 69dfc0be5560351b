//! One format has one text, and reading it back gives the format.

use proptest::prelude::*;
use sparsec_sparse::{Format, FormatError};

fn format() -> impl Strategy<Value = Format> {
    let plain = prop_oneof![
        Just(Format::Dense),
        Just(Format::Csr),
        Just(Format::Bitmap),
        (1u32..=256, 1u32..=256).prop_map(|(r, c)| Format::Bsr { r, c }),
        (1u32..=256).prop_flat_map(|m| (1..=m, Just(m))).prop_map(|(n, m)| Format::Nm { n, m }),
        (1u32..=65536, 1u32..=64, 1u32..=64).prop_map(|(partition, bucket, rows)| Format::Hyb {
            partition,
            bucket,
            rows
        }),
    ];
    (plain, any::<bool>()).prop_map(|(inner, pruned)| if pruned { Format::pruned(inner) } else { inner })
}

proptest! {
    #[test]
    fn text_round_trip(format in format()) {
        let text = format.to_string();
        prop_assert_eq!(text.parse::<Format>().unwrap(), format.clone());
        let json = serde_json::to_string(&format).unwrap();
        prop_assert_eq!(&json, &format!("\"{text}\""));
        prop_assert_eq!(serde_json::from_str::<Format>(&json).unwrap(), format);
    }

    #[test]
    fn what_parses_prints_as_it_was(text in "(dense|csr|bitmap|bsr|nm|hyb|pruned)?<?[0-9,<> a-z]{0,12}>{0,2}") {
        if let Ok(format) = text.parse::<Format>() {
            prop_assert_eq!(format.to_string(), text);
        }
    }
}

#[test]
fn texts() {
    let text = |format: Format| format.to_string();
    assert_eq!(text(Format::Dense), "dense");
    assert_eq!(text(Format::Csr), "csr");
    assert_eq!(text(Format::Bitmap), "bitmap");
    assert_eq!(text(Format::Bsr { r: 4, c: 1 }), "bsr<4,1>");
    assert_eq!(text(Format::Nm { n: 2, m: 4 }), "nm<2,4>");
    assert_eq!(text(Format::Hyb { partition: 256, bucket: 4, rows: 2 }), "hyb<256,4,2>");
    assert_eq!(text(Format::pruned(Format::Dense)), "pruned<dense>");
}

#[test]
fn wrong_texts() {
    let reason = |text: &str| match text.parse::<Format>() {
        Err(FormatError::Parse { reason, .. } | FormatError::Parameter { reason, .. }) => reason,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(reason(""), "unknown name");
    assert_eq!(reason("ellpack"), "unknown name");
    assert_eq!(reason("Dense"), "unknown name");
    assert_eq!(reason(" csr"), "unknown name");
    assert_eq!(reason("dense<1>"), "wrong number of parameters");
    assert_eq!(reason("bitmap<16>"), "wrong number of parameters");
    assert_eq!(reason("bsr"), "wrong number of parameters");
    assert_eq!(reason("bsr<4>"), "wrong number of parameters");
    assert_eq!(reason("bsr<4,1"), "the closing `>` is missing");
    assert_eq!(reason("bsr<4, 1>"), "parameters must be decimal numbers");
    assert_eq!(reason("bsr<04,1>"), "parameters must be decimal numbers");
    assert_eq!(reason("bsr<+4,1>"), "parameters must be decimal numbers");
    assert_eq!(reason("bsr<,1>"), "parameters must be decimal numbers");
    assert_eq!(reason("bsr<99999999999,1>"), "parameters must be decimal numbers");
    assert_eq!(reason("bsr<0,1>"), "R and C must be from 1 to 256");
    assert_eq!(reason("bsr<1,257>"), "R and C must be from 1 to 256");
    assert_eq!(reason("nm<5,4>"), "N must be from 1 to M, and M at most 256");
    assert_eq!(reason("hyb<0,1,1>"), "a partition must have from 1 to 65536 columns");
    assert_eq!(reason("hyb<65537,1,1>"), "a partition must have from 1 to 65536 columns");
    assert_eq!(reason("hyb<4,0,1>"), "the length rounding and the rows in flight must be from 1 to 64");
    assert_eq!(reason("pruned<nm<5,4>>"), "N must be from 1 to M, and M at most 256");
    assert_eq!(reason("pruned<>"), "unknown name");
    assert_eq!(reason("pruned<pruned<dense>>"), "a pruned matrix can't be pruned again");
    assert_eq!(reason(&"pruned<".repeat(100_000)), "the closing `>` is missing");
    assert_eq!(reason(&("pruned<".repeat(100_000) + &">".repeat(100_000))), "a pruned matrix can't be pruned again");
}
