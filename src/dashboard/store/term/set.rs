//! The terms of one part, each once: spans of a trace have most of their attributes in common.

use super::Term;

/// Places of a set that is kept for the next part. One that grew beyond, for a trace of very many spans, is let go of.
const KEPT: usize = 1 << 14;
/// Places of the smallest.
const LEAST: usize = 1 << 9;

/// Terms in the order in which they came, none twice. The memory is used again for the next part.
#[derive(Debug, Default)]
pub struct TermSet {
    list: Vec<Term>,
    /// An open hash table, by the term's last bits: a term with the number of the part that it is of, since a new
    /// part is to find the table empty without its being cleared.
    places: Vec<(u32, Term)>,
    part: u32,
}

impl TermSet {
    /// Adds a term unless it is in.
    #[inline]
    pub fn insert(&mut self, term: Term) {
        if self.list.len() * 2 >= self.places.len() {
            self.grow();
        }
        if self.place(term) {
            self.list.push(term);
        }
    }

    /// Adds terms unless they are in.
    pub fn extend(&mut self, terms: impl IntoIterator<Item = Term>) {
        terms.into_iter().for_each(|term| self.insert(term));
    }

    /// Puts it into the table; false where it was there.
    #[inline]
    fn place(&mut self, term: Term) -> bool {
        let last = self.places.len() - 1;
        let mut at = term.0 as usize & last;
        loop {
            match self.places[at] {
                (part, known) if part == self.part && known == term => return false,
                (part, _) if part == self.part => at = (at + 1) & last,
                _ => {
                    self.places[at] = (self.part, term);
                    return true;
                }
            }
        }
    }

    fn grow(&mut self) {
        let places = (self.places.len() * 2).max(LEAST);
        self.places.clear();
        self.places.resize(places, (0, Term(0)));
        self.part = 1;
        for term in std::mem::take(&mut self.list) {
            self.place(term);
            self.list.push(term);
        }
    }

    /// The terms; the set is empty afterwards.
    pub fn take(&mut self) -> Vec<Term> {
        let terms = self.list.as_slice().to_vec();
        self.list.clear();
        if self.places.len() > KEPT || self.part == u32::MAX {
            *self = Self::default();
        } else {
            self.part += 1;
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_finds_it_empty_and_gives_each_term_once_however_many_there_are() {
        let mut set = TermSet::default();
        for terms in [3, 300, 30, 100_000, 5] {
            for round in 0..3 {
                // The last bits are the same for many, as those of hashes may be.
                set.extend((round..terms).map(|number| Term(number << 7)));
            }
            assert_eq!(set.take(), (0..terms).map(|number| Term(number << 7)).collect::<Vec<_>>());
            assert!(set.places.len() <= KEPT);
        }
        assert!(set.take().is_empty());
    }
}
