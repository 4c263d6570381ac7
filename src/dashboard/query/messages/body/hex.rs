//! Bytes as they are: sixteen a line, as numbers and as signs.

use std::fmt::Write as _;

/// Bytes that are shown; a page is not made for more.
pub const MOST: usize = 8 << 10;
const LINE: usize = 16;

/// Lines of bytes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hex {
    pub lines: Vec<Line>,
    /// Bytes that are not shown.
    pub left: usize,
}

/// Up to sixteen bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The number of the first one, from 0.
    pub at: usize,
    /// `7b 22 65 …`, with a wider gap in the middle.
    pub hex: String,
    /// The same as signs, a dot for what is none.
    pub signs: String,
}

/// The lines of some bytes.
pub fn of(bytes: &[u8]) -> Hex {
    let lines = bytes[..bytes.len().min(MOST)].chunks(LINE).zip(0..).map(|(chunk, number)| {
        let mut hex = String::with_capacity(LINE * 3 + 1);
        for (byte, place) in chunk.iter().zip(0..) {
            let gap = if place == LINE / 2 { "  " } else { " " };
            let _ = write!(hex, "{}{byte:02x}", if place == 0 { "" } else { gap });
        }
        let sign = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        Line { at: number * LINE, hex, signs: chunk.iter().map(sign).collect() }
    });
    Hex { lines: lines.collect(), left: bytes.len().saturating_sub(MOST) }
}

impl Hex {
    /// The first bytes in one line.
    pub fn begin(&self, most: usize) -> String {
        let Some(first) = self.lines.first() else { return String::new() };
        let bytes: Vec<&str> = first.hex.split_whitespace().take(most).collect();
        let more = if self.lines.len() > 1 || first.signs.len() > most { " …" } else { "" };
        format!("{}{more}", bytes.join(" "))
    }
}
