//! The wildcards of a topic binding, as AMQP 0-9-1 defines them (section 3.1.3.3): words are separated by
//! dots, `*` stands for exactly one word, `#` for any number of words, none included.

/// Whether a routing key matches a binding's pattern.
pub fn matches(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = words(pattern).collect();
    let key: Vec<&str> = words(key).collect();
    // The last `#` seen, and how much of the key it has taken: where to go on when a later word fails.
    let (mut p, mut k) = (0, 0);
    let mut hash: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == "#" {
            hash = Some((p, k));
            p += 1;
        } else if k == key.len() {
            return p == pattern.len();
        } else if p < pattern.len() && (pattern[p] == "*" || pattern[p] == key[k]) {
            p += 1;
            k += 1;
        } else if let Some((at, taken)) = hash {
            hash = Some((at, taken + 1));
            p = at + 1;
            k = taken + 1;
        } else {
            return false;
        }
    }
}

/// The empty key has no words at all.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('.').take(if text.is_empty() { 0 } else { usize::MAX })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        let table = [
            ("order.placed", "order.placed", true),
            ("order.placed", "order.placed.late", false),
            ("order.*", "order.placed", true),
            ("order.*", "order", false),
            ("order.*", "order.placed.late", false),
            ("*", "order", true),
            ("*", "", false),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("order.#", "order", true),
            ("order.#", "order.placed.late", true),
            ("order.#", "orders", false),
            ("#.late", "late", true),
            ("#.late", "order.placed.late", true),
            ("#.late", "order.late.placed", false),
            ("*.placed.#", "order.placed", true),
            ("*.placed.#", "placed", false),
            ("a.#.b.#.c", "a.x.b.y.b.z.c", true),
            ("a.#.b.#.c", "a.c", false),
            ("a.*.#.c", "a.b.c", true),
            ("#.#", "", true),
            ("", "", true),
            ("", "a", false),
            ("a..b", "a..b", true),
            ("a.*.b", "a..b", true),
            ("or*", "order", false),
        ];
        for (pattern, key, expected) in table {
            assert_eq!(matches(pattern, key), expected, "{pattern} against {key}");
        }
    }

    #[test]
    fn many_hashes_stay_cheap() {
        let pattern = vec!["#.a"; 60].join(".");
        let key = vec!["a"; 2000].join(".") + ".b";
        assert!(!matches(&pattern, &key));
    }
}
