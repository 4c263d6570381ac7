//! Who stands above whom: each goes towards the middle of its neighbours, as long as fewer lines cross.

use super::columns::Graph;

/// Rounds to the right and back.
const ROUNDS: usize = 12;
/// Rounds of exchanging neighbours.
const EXCHANGES: usize = 4;

/// Puts the vertices of each column in order.
pub fn ordered(mut graph: Graph) -> Graph {
    let mut best = (crossings(&graph), graph.columns.clone());
    for round in 0..ROUNDS {
        if best.0 == 0 {
            break;
        }
        let count = graph.columns.len();
        if round % 2 == 0 {
            (1..count).for_each(|column| sort(&mut graph, column, true));
        } else {
            (0..count.saturating_sub(1)).rev().for_each(|column| sort(&mut graph, column, false));
        }
        for _ in 0..EXCHANGES {
            let mut changed = false;
            (0..count).for_each(|column| changed |= exchange(&mut graph, column));
            if !changed {
                break;
            }
        }
        let crossing = crossings(&graph);
        if crossing < best.0 {
            best = (crossing, graph.columns.clone());
        }
    }
    graph.columns = best.1;
    graph
}

/// The place of each vertex in its column.
pub fn places(graph: &Graph) -> Vec<usize> {
    let mut places = vec![0; graph.vertices.len()];
    for column in &graph.columns {
        column.iter().enumerate().for_each(|(place, vertex)| places[*vertex] = place);
    }
    places
}

/// Sorts a column by the middle of each one's neighbours on one side; who has none there stays where it is.
fn sort(graph: &mut Graph, column: usize, by_left: bool) {
    let places = places(graph);
    let neighbours = if by_left { &graph.left } else { &graph.right };
    let size = graph.columns[column].len().max(1) as f64;
    let other = if by_left { column - 1 } else { column + 1 };
    let stretch = graph.columns[other].len().max(1) as f64 / size;
    let middle = |vertex: &usize| {
        let own = &neighbours[*vertex];
        match own.len() {
            0 => places[*vertex] as f64 * stretch,
            count => own.iter().map(|one| places[*one] as f64).sum::<f64>() / count as f64,
        }
    };
    let mut keyed: Vec<(f64, usize)> =
        graph.columns[column].iter().map(|vertex| (middle(vertex), *vertex)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    graph.columns[column] = keyed.into_iter().map(|(_, vertex)| vertex).collect();
}

/// Exchanges two that lie one above the other where fewer lines cross then.
fn exchange(graph: &mut Graph, column: usize) -> bool {
    let places = places(graph);
    let mut changed = false;
    for upper in 1..graph.columns[column].len() {
        let (a, b) = (graph.columns[column][upper - 1], graph.columns[column][upper]);
        let both = |above: usize, below: usize| {
            [&graph.left, &graph.right]
                .map(|side| between(&side[above], &side[below], &places))
                .iter()
                .sum::<usize>()
        };
        if both(b, a) < both(a, b) {
            graph.columns[column].swap(upper - 1, upper);
            changed = true;
        }
    }
    changed
}

/// Crossings of the lines of two vertices, one above the other.
fn between(above: &[usize], below: &[usize], places: &[usize]) -> usize {
    above.iter().map(|a| below.iter().filter(|b| places[**b] < places[*a]).count()).sum()
}

/// Crossings of all lines.
fn crossings(graph: &Graph) -> usize {
    let places = places(graph);
    let mut count = 0;
    for column in &graph.columns {
        let mut ends: Vec<usize> = Vec::new();
        for vertex in column {
            let mut own: Vec<usize> = graph.right[*vertex].iter().map(|one| places[*one]).collect();
            own.sort_unstable();
            // Each line crosses those from above that end further down.
            count +=
                own.iter().map(|end| ends.len() - ends.partition_point(|known| known <= end)).sum::<usize>();
            for end in own {
                ends.insert(ends.partition_point(|known| *known <= end), end);
            }
        }
    }
    count
}
