//! Times of the layers of a model beside what was predicted for them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sparsec::layers::LayerReport;

use crate::output;

/// Times of every launch, run by run.
#[derive(Debug, Default)]
pub(super) struct Times {
    runs: Vec<Vec<u64>>,
}

/// A layer and how long it took.
struct Measured<'a> {
    layer: &'a LayerReport,
    median_us: f64,
}

impl Times {
    /// Keeps the nanoseconds of one run.
    pub(super) fn add(&mut self, launches: &[u64]) {
        self.runs.push(launches.to_vec());
    }

    fn measured<'a>(&self, layers: &'a [LayerReport]) -> Vec<Measured<'a>> {
        let of_run = |run: &Vec<u64>, layer: &LayerReport| -> f64 {
            run.iter().skip(layer.launches.0).take(layer.launches.1).sum::<u64>() as f64 / 1e3
        };
        let median = |layer| {
            let mut times: Vec<f64> = self.runs.iter().map(|run| of_run(run, layer)).collect();
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or(0.0)
        };
        layers.iter().map(|layer| Measured { layer, median_us: median(layer) }).collect()
    }

    /// The table for people. `peak` is in GFLOP/s.
    pub(super) fn render(&self, layers: &[LayerReport], peak: f64) -> String {
        let measured = self.measured(layers);
        let header =
            ["layer", "kernel", "format", "shape", "MMAC", "us", "GFLOP/s", "% of peak", "predicted us", "ratio"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for m in &measured {
            rows.push(vec![
                m.layer.label.clone(),
                m.layer.kernel.clone(),
                m.layer.format.clone().unwrap_or_default(),
                m.layer.shape.clone(),
                format!("{:.3}", m.layer.kept_macs / 1e6),
                format!("{:.1}", m.median_us),
                format!("{:.1}", m.gflops()),
                format!("{:.1}", 100.0 * m.gflops() / peak),
                format!("{:.1}", m.layer.predicted_us),
                format!("{:.2}", m.ratio()),
            ]);
        }
        let mut text = output::table(&rows) + "\n";
        let header = ["kernel", "layers", "MMAC", "us", "% of time", "% of peak", "predicted us", "ratio"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        let total: f64 = measured.iter().map(|m| m.median_us).sum();
        for (family, sum) in families(&measured) {
            rows.push(vec![
                family.to_owned(),
                sum.layers.to_string(),
                format!("{:.3}", sum.macs / 1e6),
                format!("{:.1}", sum.us),
                format!("{:.1}", 100.0 * sum.us / total),
                format!("{:.1}", 100.0 * sum.macs * 2e-3 / sum.us / peak),
                format!("{:.1}", sum.predicted_us),
                format!("{:.2}", sum.predicted_us / sum.us),
            ]);
        }
        text += &output::table(&rows);
        let predicted: f64 = measured.iter().map(|m| m.layer.predicted_us).sum();
        text + &format!(
            "\nsum of layers {total:.1} us, predicted {predicted:.1} us; median error of a prediction {:.1} %, {:.1} % \
             where layers count by their time\n",
            100.0 * median_error(&measured, |_| 1.0),
            100.0 * median_error(&measured, |m| m.median_us),
        )
    }

    /// The same as JSON.
    pub(super) fn json(&self, layers: &[LayerReport], peak: f64) -> Value {
        let measured = self.measured(layers);
        let rows: Vec<Value> = measured
            .iter()
            .map(|m| {
                json!({
                    "layer": m.layer.label,
                    "op": m.layer.op,
                    "kernel": m.layer.kernel,
                    "family": m.layer.family,
                    "format": m.layer.format,
                    "shape": m.layer.shape,
                    "kept_macs": m.layer.kept_macs,
                    "median_us": super::round(m.median_us),
                    "of_peak": super::round(m.gflops() / peak),
                    "predicted_us": super::round(m.layer.predicted_us),
                    "ratio": super::round(m.ratio()),
                    "work": m.layer.work.named(),
                })
            })
            .collect();
        let families: serde_json::Map<String, Value> = families(&measured)
            .into_iter()
            .map(|(family, sum)| {
                let value = json!({
                    "layers": sum.layers,
                    "kept_macs": sum.macs,
                    "us": super::round(sum.us),
                    "predicted_us": super::round(sum.predicted_us),
                });
                (family.to_owned(), value)
            })
            .collect();
        json!({
            "layers": rows,
            "families": families,
            "median_error": super::round(median_error(&measured, |_| 1.0)),
            "median_error_by_time": super::round(median_error(&measured, |m| m.median_us)),
        })
    }
}

impl Measured<'_> {
    fn gflops(&self) -> f64 {
        if self.median_us > 0.0 { 2e-3 * self.layer.kept_macs / self.median_us } else { 0.0 }
    }

    /// Predicted / measured.
    fn ratio(&self) -> f64 {
        if self.median_us > 0.0 { self.layer.predicted_us / self.median_us } else { 0.0 }
    }
}

/// What the layers of one kernel family have in common.
#[derive(Default)]
struct Sum {
    layers: usize,
    macs: f64,
    us: f64,
    predicted_us: f64,
}

fn families<'a>(measured: &[Measured<'a>]) -> BTreeMap<&'a str, Sum> {
    let mut families: BTreeMap<&str, Sum> = BTreeMap::new();
    for m in measured {
        let sum = families.entry(&m.layer.family).or_default();
        sum.layers += 1;
        sum.macs += m.layer.kept_macs;
        sum.us += m.median_us;
        sum.predicted_us += m.layer.predicted_us;
    }
    families
}

/// The weighted median of |predicted - measured| / measured.
fn median_error(measured: &[Measured<'_>], weight: impl Fn(&Measured<'_>) -> f64) -> f64 {
    let mut errors: Vec<(f64, f64)> =
        measured.iter().filter(|m| m.median_us > 0.0).map(|m| ((m.ratio() - 1.0).abs(), weight(m))).collect();
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = errors.iter().map(|e| e.1).sum::<f64>() / 2.0;
    let mut sum = 0.0;
    for (error, weight) in &errors {
        sum += weight;
        if sum >= half {
            return *error;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(launches: (usize, usize), predicted_us: f64) -> LayerReport {
        LayerReport {
            label: format!("layer {}", launches.0),
            op: "contract".to_owned(),
            launches,
            kernel: "k0_gemm".to_owned(),
            family: "gemm".to_owned(),
            format: None,
            shape: "2x2".to_owned(),
            kept_macs: 1e3,
            predicted_us,
            work: Default::default(),
        }
    }

    #[test]
    fn launches_of_a_layer_are_added_and_medians_taken() {
        let mut times = Times::default();
        for run in [[1000, 2000, 8000], [1000, 4000, 4000], [1000, 3000, 1000]] {
            times.add(&run);
        }
        let layers = [layer((0, 2), 5.0), layer((2, 1), 3.0)];
        let measured = times.measured(&layers);
        assert_eq!(measured.iter().map(|m| m.median_us).collect::<Vec<_>>(), [4.0, 4.0]);
        assert_eq!(median_error(&measured, |_| 1.0), 0.25);
        // 1000 multiply-adds in 4 us are 0.5 GFLOP/s.
        assert_eq!(measured[0].gflops(), 0.5);
        let table = times.render(&layers, 1.0);
        let family = table.lines().find(|l| l.starts_with("gemm")).expect("a line");
        assert_eq!(family.split_whitespace().nth(1), Some("2"), "{table}");
        assert_eq!(times.json(&layers, 1.0)["families"]["gemm"]["us"], 8.0);
    }
}
