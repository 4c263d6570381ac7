//! The table that is printed, and the same as JSON for a program.

use serde_json::{Value, json};

/// Figures as they come.
pub struct Report {
    rows: Vec<Value>,
    engine: &'static str,
    spans: u64,
}

impl Report {
    pub fn of(engine: &'static str, spans: u64) -> Self {
        println!("{spans} spans, {engine}");
        Self { rows: Vec::new(), engine, spans }
    }

    /// One figure.
    pub fn row(&mut self, what: &str, unit: &str, value: f64) {
        println!("{what:<62} {value:>10.2} {unit}");
        self.rows.push(json!({ "what": what, "unit": unit, "value": value }));
    }

    /// How long something took, in ms, again and again; and the size of the largest answer.
    pub fn times(&mut self, what: &str, mut times: Vec<f64>, bytes: usize) {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let (p50, p95, kb) = (at(0.5), at(0.95), bytes as f64 / 1e3);
        println!("{what:<62} {p50:>10.2} {p95:>10.2} ms, p50 and p95 {kb:>10.1} kB");
        self.rows.push(json!({ "what": what, "p50_ms": p50, "p95_ms": p95, "kB": kb }));
    }

    /// Writes the file that `BENCH_JSON` names.
    pub fn write(self) {
        let Ok(file) = std::env::var("BENCH_JSON") else { return };
        let report = json!({ "engine": self.engine, "spans": self.spans, "rows": self.rows });
        std::fs::write(&file, format!("{report:#}\n")).expect("the file of BENCH_JSON can be written");
    }
}
