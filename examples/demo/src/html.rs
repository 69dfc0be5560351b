//! The report: one HTML file without anything outside it.

use std::fmt::Write;

use sparsec::inspect::Inspection;

use crate::Picture;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}\
td.n{text-align:right;font-variant-numeric:tabular-nums}figure{display:inline-block;margin:.5em 1em .5em 0;vertical-align:top}\
figcaption{font-size:13px;color:#555}svg{border:1px solid #ccc;max-width:100%}";

/// The report of several networks: a table of results (the first row is the header), then for each network its weights
/// and its pictures.
#[must_use]
pub fn report(results: &[Vec<String>], networks: &[(&str, &Inspection, &[Picture])]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>sparsec demo</title><style>{STYLE}</style>\
         <h1>sparsec demo</h1>{}",
        table(results)
    );
    for (name, inspection, pictures) in networks {
        // Writing to a string does not fail.
        let _ = write!(html, "<h2>{}</h2>", escape(name));
        html += &table(&weight_rows(inspection));
        for picture in *pictures {
            let (rows, columns) = picture.shape;
            let _ = write!(
                html,
                "<figure>{}<figcaption>{}: {rows} outputs x {columns} inputs, density {:.3}</figcaption></figure>",
                picture.svg(),
                escape(&picture.tensor),
                picture.density
            );
        }
    }
    html + "</html>\n"
}

/// The format table of a network; the first row is the header.
#[must_use]
pub fn weight_rows(inspection: &Inspection) -> Vec<Vec<String>> {
    let header = ["weight", "outputs", "inputs", "pattern", "density", "format", "kB", "why"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(inspection.weights.iter().map(|w| {
        vec![
            w.tensor.clone(),
            w.shape.0.to_string(),
            w.shape.1.to_string(),
            w.pattern.clone(),
            format!("{:.3}", w.density),
            w.chosen.clone(),
            format!("{:.1}", w.bytes as f64 / 1e3),
            w.reason.clone(),
        ]
    }));
    rows
}

fn table(rows: &[Vec<String>]) -> String {
    let mut html = String::from("<table>");
    for (i, row) in rows.iter().enumerate() {
        html += "<tr>";
        for cell in row {
            let number = cell.starts_with(|c: char| c.is_ascii_digit());
            let tag = match (i, number) {
                (0, _) => "<th>",
                (_, true) => "<td class=\"n\">",
                (_, false) => "<td>",
            };
            html += tag;
            html += &escape(cell);
        }
    }
    html + "</table>"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
