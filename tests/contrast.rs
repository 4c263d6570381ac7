//! The colours of `static/look.css` can be told apart: WCAG 2.2 AA, in light and in dark. Text has 4.5:1 on every ground
//! that it stands on, large text too; borders of controls and marks of charts have 3:1. What is only decoration (hairlines,
//! grids, tints) has no bound, and is named here so that nothing becomes decoration unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Contrast of text, WCAG 1.4.3, and of what else must be seen, 1.4.11.
const TEXT: f64 = 4.5;
const MARK: f64 = 3.0;

/// What text and marks stand on: page, panel, quiet areas, a row under the pointer, one that is chosen.
const GROUNDS: &[&str] = &["paper", "sheet", "sunk", "hover", "accent-tint"];
/// Grounds of banners, badges and matches as well.
const TINTS: &[&str] = &["paper", "sheet", "sunk", "hover", "accent-tint", "err-tint", "warn-tint"];

/// Text, what it stands on, and the least contrast.
const PAIRS: &[(&str, &[&str], f64)] = &[
    ("ink", TINTS, TEXT),
    ("ink-2", TINTS, TEXT),
    ("ink-3", TINTS, TEXT),
    ("accent", TINTS, TEXT),
    ("err", TINTS, TEXT),
    ("warn", TINTS, TEXT),
    ("num", GROUNDS, TEXT),
    // A main button; under the pointer its ground is mixed of both.
    ("on-accent", &["accent", "ink"], TEXT),
    // A toast.
    ("paper", &["ink"], TEXT),
    ("edge", TINTS, MARK),
    ("warn-fill", TINTS, MARK),
    ("svc-1", GROUNDS, MARK),
    ("svc-2", GROUNDS, MARK),
    ("svc-3", GROUNDS, MARK),
    ("svc-4", GROUNDS, MARK),
    ("svc-5", GROUNDS, MARK),
    ("svc-6", GROUNDS, MARK),
    ("svc-7", GROUNDS, MARK),
    ("svc-8", GROUNDS, MARK),
    ("svc-9", GROUNDS, MARK),
    ("svc-10", GROUNDS, MARK),
    ("svc-11", GROUNDS, MARK),
    ("svc-12", GROUNDS, MARK),
];

/// Drawn without having to be told apart: nothing is known from it alone.
const DECORATION: &[&str] = &["line", "line-2"];

/// Rules of controls that have a border of their own.
const CONTROLS: &[&str] =
    &[".btn", ".search", ".field", ".query", ".pop", ".chip", ".mask", ".help", ".kv dd .does a"];

/// A colour in OKLCH: lightness, chroma, hue in degrees.
type Oklch = [f64; 3];

/// The tokens that are colours, each in light and in dark.
fn tokens(css: &str) -> BTreeMap<&str, [Oklch; 2]> {
    let token = |line: &str| {
        let colours = line.split_once("light-dark(")?.1;
        let mut found = colours.split("oklch(").skip(1).map(|rest| {
            let numbers = rest.split(')').next()?.split_whitespace().map(str::parse);
            numbers.collect::<Result<Vec<f64>, _>>().ok()?.try_into().ok()
        });
        Some([found.next()??, found.next()??])
    };
    let lines = css.lines().filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix("--")?.split_once(':')?;
        Some((name, token(rest)?))
    });
    lines.collect()
}

/// WCAG's relative luminance, by way of OKLab and linear sRGB, cut to what a screen can show.
fn luminance([lightness, chroma, hue]: Oklch) -> f64 {
    let (a, b) = (chroma * hue.to_radians().cos(), chroma * hue.to_radians().sin());
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548 * b).powi(3);
    let red = 4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s;
    let green = -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s;
    let blue = -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701 * s;
    0.2126 * red.clamp(0.0, 1.0) + 0.7152 * green.clamp(0.0, 1.0) + 0.0722 * blue.clamp(0.0, 1.0)
}

fn contrast(one: Oklch, other: Oklch) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// The pairs of `front` that have less than `least` on one of `grounds`, in words.
fn too_faint(tokens: &BTreeMap<&str, [Oklch; 2]>, front: &str, grounds: &[&str], least: f64) -> Vec<String> {
    let mut faint = Vec::new();
    for ground in grounds {
        for (at, theme) in ["light", "dark"].iter().enumerate() {
            let colour = |name: &str| tokens.get(name).unwrap_or_else(|| panic!("no token --{name}"))[at];
            let found = contrast(colour(front), colour(ground));
            if found < least {
                faint.push(format!("--{front} on --{ground}, {theme}: {found:.2}:1, not {least}:1"));
            }
        }
    }
    faint
}

fn look() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/look.css");
    std::fs::read_to_string(path).expect("the stylesheet")
}

#[test]
fn contrast_is_computed_as_wcag_does() {
    let (white, black, grey) = ([1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.566_6, 0.0, 0.0]);
    assert!((contrast(white, black) - 21.0).abs() < 0.01);
    // #767676 on white is the well-known 4.54:1; sRGB's red has a luminance of 0.2126.
    assert!((contrast(white, grey) - 4.54).abs() < 0.03, "{}", contrast(white, grey));
    assert!((luminance([0.627_955, 0.257_683, 29.233_9]) - 0.2126).abs() < 0.001);
}

#[test]
fn text_and_marks_can_be_told_from_what_they_stand_on() {
    let css = look();
    let tokens = tokens(&css);
    let faint: Vec<_> =
        PAIRS.iter().flat_map(|(front, grounds, least)| too_faint(&tokens, front, grounds, *least)).collect();
    assert!(faint.is_empty(), "{faint:#?}");
}

#[test]
fn borders_of_controls_can_be_seen() {
    let css = look();
    let tokens = tokens(&css);
    let mut faint = Vec::new();
    for control in CONTROLS {
        let rule = css.split(&format!("\n  {control} {{")).nth(1);
        let rule = rule.unwrap_or_else(|| panic!("no rule for {control}"));
        let border = rule.split('}').next().and_then(|rule| rule.split("border: 1px ").nth(1));
        let border = border.and_then(|border| border.split_once("var(--")?.1.split(')').next());
        let border = border.unwrap_or_else(|| panic!("{control} has no border"));
        let pairs = too_faint(&tokens, border, GROUNDS, MARK);
        faint.extend(pairs.into_iter().map(|pair| format!("{control}: {pair}")));
    }
    assert!(faint.is_empty(), "{faint:#?}");
}

#[test]
fn every_colour_in_use_is_in_a_pair() {
    let css = look();
    let tokens = tokens(&css);
    let fronts: BTreeSet<&str> = PAIRS.iter().map(|(front, ..)| *front).collect();
    let grounds: BTreeSet<&str> = PAIRS.iter().flat_map(|(_, grounds, _)| *grounds).copied().collect();
    let mut unknown = BTreeSet::new();
    for declaration in css.split([';', '{', '}']) {
        let Some((property, value)) = declaration.trim().split_once(':') else { continue };
        let used = value.split("var(--").skip(1).filter_map(|rest| rest.split([')', ',']).next());
        for name in used.filter(|name| tokens.contains_key(name)) {
            let known = match property {
                "color" => fronts.contains(name),
                // A drawing's shape may be a ground, a mark or a line of the grid.
                _ => fronts.contains(name) || grounds.contains(name) || DECORATION.contains(&name),
            };
            if !known {
                unknown.insert(format!("{property}: --{name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "in no pair of this test: {unknown:#?}");
    let unused: Vec<_> = tokens.keys().filter(|name| !css.contains(&format!("var(--{name})"))).collect();
    assert!(unused.is_empty(), "colours that nothing uses: {unused:?}");
}
