//! A trend in a row of a table: small, without axes, its most in the title.

use std::fmt::Write;

use crate::dashboard::model::Nanos;
use crate::dashboard::store::Rates;
use crate::dashboard::view::escape::{Html, escaped};

/// Size of the box that is drawn in.
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 20.0;

/// Draws a value of each step; `class` is `e` for an error, else it is plain. Steps without a value are gaps.
pub fn of(
    steps: &[(Nanos, Rates)],
    class: &str,
    value: impl Fn(&Rates) -> Option<f64>,
    says: impl Fn(f64) -> String,
) -> Html {
    let values: Vec<Option<f64>> = steps.iter().map(|(_, rates)| value(rates)).collect();
    values_of(&values, class, says)
}

/// The same over values, one a step.
pub fn values_of(values: &[Option<f64>], class: &str, says: impl Fn(f64) -> String) -> Html {
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let width = WIDTH / values.len().saturating_sub(1).max(1) as f64;
    let top = if most > 0.0 { most } else { 1.0 };
    let point = |(index, value): (usize, &Option<f64>)| {
        value.map(|value| {
            ((index as f64 * width).round(), (HEIGHT - 1.0 - value / top * (HEIGHT - 3.0)).round())
        })
    };
    let points: Vec<_> = values.iter().enumerate().map(point).collect();
    let (mut line, mut area) = (String::new(), String::new());
    for run in points.split(Option::is_none).filter(|run| !run.is_empty()) {
        let mut run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
        if let [(x, y)] = run[..] {
            run = vec![(x - 1.0, y), (x + 1.0, y)];
        }
        let mut path = String::new();
        for (index, (x, y)) in run.iter().enumerate() {
            let _ = write!(path, "{}{x} {y}", if index == 0 { "M" } else { "L" });
        }
        let _ = write!(area, "{path}V{HEIGHT}H{}Z", run[0].0);
        line += &path;
    }
    let title = if most > 0.0 { says(most) } else { "always 0".to_owned() };
    let class = if class.is_empty() { ("", " f") } else { (" e", " e") };
    askama::filters::Safe(format!(
        r#"<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{}"><title>{0}</title><path class="ar{}" d="{area}"/><path class="ln{}" d="{line}"/></svg>"#,
        escaped(&title),
        class.0,
        class.1
    ))
}
