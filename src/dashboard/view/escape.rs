//! How text from outside is written into a page: escaped, and with nothing invisible in it.
//!
//! askama calls [`Visible`] for every expression of every template (see `askama.toml`), so no page can forget.

use std::fmt::{self, Write};

/// HTML that was escaped where it was made; templates write it as it is.
pub type Html = askama::filters::Safe<String>;

/// Escapes HTML, and shows control characters and direction overrides as visible signs: a name must not be
/// able to hide a part of itself or to turn the text around it (Unicode TR 36 §2.10).
#[derive(Debug, Clone, Copy, Default)]
pub struct Visible;

impl askama::filters::Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, sign) in text.char_indices() {
            let Some(shown) = replacement(sign) else { continue };
            dest.write_str(&text[plain..at])?;
            plain = at + sign.len_utf8();
            match shown {
                Shown::Entity(entity) => dest.write_str(entity)?,
                Shown::Picture(picture) => dest.write_char(picture)?,
                Shown::Code(code) => write!(dest, "⟨U+{code:04X}⟩")?,
            }
        }
        dest.write_str(&text[plain..])
    }
}

/// `text` escaped, for HTML that is put together in code.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    // Writing into a String cannot fail.
    let _ = askama::filters::Escaper::write_escaped_str(&Visible, &mut out, text);
    out
}

/// `text` escaped, with what stands between backticks as code.
pub fn with_code(text: &str) -> Html {
    let mut out = String::new();
    for (number, part) in text.split('`').enumerate() {
        let part = escaped(part);
        out.push_str(&if number % 2 == 1 { format!("<code>{part}</code>") } else { part });
    }
    askama::filters::Safe(out)
}

enum Shown {
    Entity(&'static str),
    Picture(char),
    Code(u32),
}

/// What is written in place of `sign`, if it is not written as it is.
fn replacement(sign: char) -> Option<Shown> {
    Some(match sign {
        '<' => Shown::Entity("&lt;"),
        '>' => Shown::Entity("&gt;"),
        '&' => Shown::Entity("&amp;"),
        '"' => Shown::Entity("&#34;"),
        '\'' => Shown::Entity("&#39;"),
        '\n' | '\t' => return None,
        // The control pictures block mirrors the C0 controls.
        '\0'..='\x1f' => Shown::Picture(char::from_u32(0x2400 + sign as u32)?),
        '\x7f' => Shown::Picture('\u{2421}'),
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Shown::Code(sign as u32),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(
            escaped(r#"<script>"a" & 'b'</script>"#),
            "&lt;script&gt;&#34;a&#34; &amp; &#39;b&#39;&lt;/script&gt;"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(escaped("a\u{202e}b"), "a⟨U+202E⟩b");
        assert_eq!(escaped("a\0b\x1b[31m"), "a␀b␛[31m");
        assert_eq!(escaped("two\nlines\tand a tab, größe 大"), "two\nlines\tand a tab, größe 大");
    }
}
