//! A time axis on which idle gaps are folded to strips of a fixed width, so that milliseconds of work and
//! hours of waiting fit beside each other. Positions are percentages of the axis.

use crate::dashboard::model::Nanos;

/// The axis: pieces without holes from left to right.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub pieces: Vec<Piece>,
}

/// A stretch of the axis with one scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub from: Nanos,
    pub to: Nanos,
    /// In percent.
    pub x: f64,
    pub width: f64,
    pub kind: PieceKind,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PieceKind {
    /// Something happened. The number says how many times wider it is drawn than at the common scale.
    Busy { stretch: f64 },
    /// Nothing happened for so long that it is not drawn to scale.
    Fold,
    /// Nothing happened since.
    UntilNow,
}

impl Piece {
    pub fn length(&self) -> u64 {
        self.to - self.from
    }

    pub fn is_busy(&self) -> bool {
        matches!(self.kind, PieceKind::Busy { .. })
    }
}

/// A line across the chart with its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tick {
    pub x: f64,
    pub at: TickAt,
}

/// How a tick is labelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TickAt {
    Moment(Nanos),
    /// Nanoseconds after the piece's first tick.
    Plus(u64),
}

/// Gaps are folded where they are longer than this share of the time in which something happened.
const FOLD_SHARE: u64 = 5;
/// And longer than this share of everything: what is short anyway is not worth a fold.
const FOLD_OF_WHOLE: u64 = 50;
/// Folds on one axis; shorter gaps stay to scale.
const MAX_FOLDS: usize = 6;
/// The narrowest piece in which something happens, in percent; one that is shorter is stretched to it.
const NARROWEST: f64 = 9.0;
/// Room for folds together, the widest fold, and the strip until now, in percent.
const FOLDS_ROOM: f64 = 34.0;
const WIDEST_FOLD: f64 = 9.5;
const UNTIL_NOW: f64 = 8.0;
/// Empty space at both ends of a busy piece, so that marks do not touch its edges, in percent.
const PAD: f64 = 0.4;
/// Distance between labelled ticks, and what a label needs, in percent.
const TICK_EVERY: f64 = 10.0;
const TICK_ROOM: f64 = 6.0;

impl Axis {
    /// An axis over busy intervals (start, end). With `until`, a strip at the end stands for the time since.
    pub fn of(mut busy: Vec<(Nanos, Nanos)>, until: Option<Nanos>, true_scale: bool) -> Self {
        busy.sort_unstable();
        let islands = if true_scale { whole(&busy, until) } else { islands(busy) };
        let last = islands.last().map(|(_, to)| *to);
        let until = until.zip(last).filter(|(until, last)| !true_scale && until > last);
        let folds = islands.len().saturating_sub(1);
        let fold = (FOLDS_ROOM / folds.max(1) as f64).min(WIDEST_FOLD);
        let rest = 100.0 - fold * folds as f64 - until.map_or(0.0, |_| UNTIL_NOW);
        let widths = widths(&islands, rest);
        let scale = |(from, to): (Nanos, Nanos), width: f64| width / (to - from).max(1) as f64;
        let common = islands.iter().zip(&widths).map(|(island, width)| scale(*island, *width));
        let common = common.fold(f64::INFINITY, f64::min);
        let mut axis = Axis { pieces: Vec::new() };
        for (island, width) in islands.iter().zip(&widths) {
            if let Some(before) = axis.pieces.last().map(|piece| piece.to) {
                axis.push(before, island.0, fold, PieceKind::Fold);
            }
            let stretch = scale(*island, *width) / common;
            axis.push(island.0, island.1, *width, PieceKind::Busy { stretch });
        }
        if let Some((until, last)) = until {
            axis.push(last, until, UNTIL_NOW, PieceKind::UntilNow);
        }
        axis
    }

    fn push(&mut self, from: Nanos, to: Nanos, width: f64, kind: PieceKind) {
        let x = self.pieces.last().map_or(0.0, |piece| piece.x + piece.width);
        self.pieces.push(Piece { from, to, x, width, kind });
    }

    /// Where a moment lies, in percent; outside of the axis, at its nearer end.
    pub fn x(&self, at: Nanos) -> f64 {
        // Pieces touch: a moment at the border belongs to the busy one.
        let inside = |piece: &&Piece| (piece.from..=piece.to).contains(&at);
        let busy = self.pieces.iter().filter(|piece| piece.is_busy()).find(inside);
        let Some(piece) = busy.or_else(|| self.pieces.iter().find(inside)) else {
            let before = self.pieces.first().is_none_or(|piece| at < piece.from);
            return if before { PAD } else { 100.0 - PAD };
        };
        let pad = if piece.is_busy() { PAD } else { 0.0 };
        let share = (at - piece.from) as f64 / piece.length().max(1) as f64;
        piece.x + pad + share * (piece.width - 2.0 * pad)
    }

    /// The piece at a position.
    pub fn piece_at(&self, x: f64) -> Option<&Piece> {
        self.pieces.iter().find(|piece| x >= piece.x && x <= piece.x + piece.width)
    }

    /// Ticks of all busy pieces: the first of each has its moment, the others their distance from it.
    pub fn ticks(&self) -> Vec<Tick> {
        let mut ticks = Vec::new();
        for piece in self.pieces.iter().filter(|piece| piece.is_busy()) {
            ticks.push(Tick { x: self.x(piece.from), at: TickAt::Moment(piece.from) });
            let wanted = (piece.width / TICK_EVERY).floor().max(1.0);
            let step = nice((piece.length() as f64 / wanted * 0.8) as u64);
            for number in 1..=wanted as u64 * 2 {
                let x = self.x(piece.from.saturating_add(step * number));
                let free = x + TICK_ROOM <= piece.x + piece.width && x - piece.x >= TICK_EVERY * 0.75;
                if free && piece.length() >= step * number {
                    ticks.push(Tick { x, at: TickAt::Plus(step * number) });
                }
            }
        }
        ticks
    }
}

/// The next 1, 2 or 5 times a power of ten; above a second, times that clocks count in.
fn nice(ns: u64) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    const CLOCK: [u64; 13] = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 4 * 3_600, 24 * 3_600];
    if ns > SECOND / 2 {
        let found = CLOCK.iter().map(|seconds| seconds * SECOND).find(|step| *step >= ns);
        return found.unwrap_or_else(|| ns.div_ceil(24 * 3_600 * SECOND) * 24 * 3_600 * SECOND);
    }
    let mut power = 1;
    loop {
        if let Some(step) = [1, 2, 5].into_iter().map(|digit| digit * power).find(|step| *step >= ns) {
            return step;
        }
        power *= 10;
    }
}

/// One piece for everything.
fn whole(busy: &[(Nanos, Nanos)], until: Option<Nanos>) -> Vec<(Nanos, Nanos)> {
    let from = busy.iter().map(|(from, _)| *from).min();
    let to = busy.iter().map(|(_, to)| *to).chain(until).max();
    from.zip(to).map(|(from, to)| (from, to.max(from))).into_iter().collect()
}

/// Joins what overlaps, and what is separated by less than a gap worth folding.
fn islands(sorted: Vec<(Nanos, Nanos)>) -> Vec<(Nanos, Nanos)> {
    let mut islands: Vec<(Nanos, Nanos)> = Vec::new();
    for (from, to) in sorted {
        match islands.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => islands.push((from, to.max(from))),
        }
    }
    let active: u64 = islands.iter().map(|(from, to)| to - from).sum();
    let mut gaps: Vec<u64> = islands.windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
    gaps.sort_unstable_by(|one, other| other.cmp(one));
    let enough = gaps.get(MAX_FOLDS).map_or(0, |gap| gap + 1);
    let whole = islands.last().map_or(0, |last| last.1 - islands[0].0);
    let shortest = (active / FOLD_SHARE + 1).max(whole / FOLD_OF_WHOLE).max(enough);
    let mut joined: Vec<(Nanos, Nanos)> = Vec::new();
    for (from, to) in islands {
        match joined.last_mut() {
            Some(last) if from - last.1 < shortest => last.1 = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// Shares `room` by length, but none gets less than the narrowest.
fn widths(islands: &[(Nanos, Nanos)], room: f64) -> Vec<f64> {
    let narrowest = NARROWEST.min(room / islands.len().max(1) as f64);
    let lengths: Vec<f64> = islands.iter().map(|(from, to)| (to - from).max(1) as f64).collect();
    let mut narrow = vec![false; lengths.len()];
    loop {
        let taken = narrow.iter().filter(|narrow| **narrow).count() as f64 * narrowest;
        let sum: f64 =
            lengths.iter().zip(&narrow).filter(|(_, narrow)| !**narrow).map(|(length, _)| length).sum();
        let share = |length: f64| length / sum.max(1.0) * (room - taken);
        let found = (0..lengths.len()).find(|at| !narrow[*at] && share(lengths[*at]) < narrowest - 1e-9);
        match found {
            Some(at) => narrow[at] = true,
            None => {
                let width =
                    |(length, narrow): (&f64, &bool)| if *narrow { narrowest } else { share(*length) };
                return lengths.iter().zip(&narrow).map(width).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const T: Nanos = 1_700_000_000_000_000_000;

    fn adds_up(axis: &Axis) {
        let last = axis.pieces.last().unwrap();
        assert!((last.x + last.width - 100.0).abs() < 1e-6, "{axis:?}");
    }

    #[test]
    fn folds_long_gaps_and_keeps_short_ones() {
        let busy = vec![
            (T, T + 600 * MS),
            (T + 650 * MS, T + 700 * MS),
            (T + 190_000 * MS, T + 190_006 * MS),
            (T + 214_000 * MS, T + 214_500 * MS),
        ];
        let axis = Axis::of(busy, Some(T + 900_000 * MS), false);
        let kinds: Vec<bool> = axis.pieces.iter().map(Piece::is_busy).collect();
        assert_eq!(kinds, [true, false, true, false, true, false]);
        assert_eq!(axis.pieces[1].length(), 189_300 * MS);
        assert_eq!(axis.pieces[5].kind, PieceKind::UntilNow);
        let PieceKind::Busy { stretch } = axis.pieces[2].kind else { panic!("{axis:?}") };
        assert!(stretch > 5.0 && axis.pieces[2].width >= NARROWEST - 1e-9, "{stretch}");
        adds_up(&axis);
        assert!(axis.x(T) < axis.x(T + 600 * MS) && axis.x(T + 600 * MS) < axis.x(T + 190_000 * MS));
    }

    #[test]
    fn true_scale_folds_nothing() {
        let axis = Axis::of(vec![(T, T + MS), (T + 99 * MS, T + 100 * MS)], None, true);
        assert_eq!(axis.pieces.len(), 1);
        assert!((axis.x(T + 50 * MS) - 50.0).abs() < 0.1);
    }

    #[test]
    fn many_bursts_get_few_folds() {
        let busy = (0..200).map(|n| (T + n * n * 1_000 * MS, T + n * n * 1_000 * MS + MS)).collect();
        let axis = Axis::of(busy, Some(T + 1_000_000_000 * MS), false);
        assert!(axis.pieces.iter().filter(|piece| !piece.is_busy()).count() <= MAX_FOLDS + 1);
        assert!(axis.pieces.iter().all(|piece| piece.width > 3.0), "{axis:?}");
        adds_up(&axis);
        assert!(axis.ticks().len() < 40);
    }

    #[test]
    fn one_moment_and_nothing_at_all_have_an_axis() {
        adds_up(&Axis::of(vec![(T, T)], None, false));
        assert_eq!(Axis::of(Vec::new(), Some(T), false).pieces, []);
        assert_eq!(Axis::of(Vec::new(), None, true).x(T), PAD);
    }

    #[test]
    fn ticks_have_round_distances() {
        assert_eq!(nice(137 * MS), 200 * MS);
        assert_eq!(nice(700 * MS), 1_000 * MS);
        assert_eq!(nice(40_000 * MS), 60_000 * MS);
        assert_eq!(nice(0), 1);
    }
}
