//! At what height each vertex lies: as near to its neighbours as the others of its column allow.

use super::MARGIN;
use super::columns::{Graph, Vertex};

/// Rounds to the right and back.
const ROUNDS: usize = 10;
/// Room between two nodes, a node and a line, two lines.
const NODES: f64 = 28.0;
const NODE_AND_LINE: f64 = 18.0;
const LINES: f64 = 12.0;

/// The middle of each vertex.
pub fn rows(graph: &Graph) -> Vec<f64> {
    let mut middles = vec![0.0; graph.vertices.len()];
    for column in &graph.columns {
        let (mut at, mut before) = (0.0, None);
        for vertex in column {
            at += before.map_or(0.0, |before| apart(graph, before, *vertex));
            middles[*vertex] = at;
            before = Some(*vertex);
        }
    }
    let count = graph.columns.len();
    for round in 0..ROUNDS {
        let last = round + 2 >= ROUNDS;
        if round % 2 == 0 {
            (0..count).for_each(|column| settle(graph, column, &mut middles, (true, last)));
        } else {
            (0..count).rev().for_each(|column| settle(graph, column, &mut middles, (last, true)));
        }
    }
    let tops =
        graph.columns.iter().flatten().map(|vertex| middles[*vertex] - graph.vertices[*vertex].height / 2.0);
    let top = tops.fold(f64::INFINITY, f64::min);
    // Whole pixels, so that lines are sharp; room above for edges from a node to itself.
    middles.iter().map(|middle| (middle - top + 2.0 * MARGIN).round()).collect()
}

/// How far apart the middles of two must be, the first above the second.
fn apart(graph: &Graph, above: usize, below: usize) -> f64 {
    let (above, below) = (&graph.vertices[above], &graph.vertices[below]);
    let room = match (above.node, below.node) {
        (Some(_), Some(_)) => NODES,
        (None, None) => LINES,
        _ => NODE_AND_LINE,
    };
    (above.height + below.height) / 2.0 + room
}

/// How much a line wants to be straight.
fn weight(a: &Vertex, b: &Vertex) -> f64 {
    match (a.node, b.node) {
        (None, None) => 8.0,
        (Some(_), Some(_)) => 1.0,
        _ => 2.0,
    }
}

/// Moves a column to its neighbours on the left, the right or both: the places that differ least, by squares, from
/// what each wants while all keep their order and distance (isotonic regression, by pooling who is in the way).
fn settle(graph: &Graph, column: usize, middles: &mut [f64], (by_left, by_right): (bool, bool)) {
    let column = &graph.columns[column];
    /// Those that stand at the least distance from one another: where the first wants to be, how much, how many.
    struct Pool {
        at: f64,
        weight: f64,
        count: usize,
    }
    let (mut pools, mut offsets): (Vec<Pool>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut offset = 0.0;
    for (place, vertex) in column.iter().enumerate() {
        if place > 0 {
            offset += apart(graph, column[place - 1], *vertex);
        }
        offsets.push(offset);
        let own = &graph.vertices[*vertex];
        let sides = [(by_left, &graph.left), (by_right, &graph.right)];
        let neighbours = sides.into_iter().filter(|(on, _)| *on).flat_map(|(_, side)| &side[*vertex]);
        let (mut sum, mut all) = (0.0, 0.0);
        for one in neighbours {
            let weight = weight(own, &graph.vertices[*one]);
            sum += middles[*one] * weight;
            all += weight;
        }
        let (wanted, weight) = if all > 0.0 { (sum / all, all) } else { (middles[*vertex], 0.05) };
        let mut pool = Pool { at: wanted - offset, weight, count: 1 };
        while let Some(above) = pools.pop_if(|above| above.at >= pool.at) {
            let weight = above.weight + pool.weight;
            pool.at = (above.at * above.weight + pool.at * pool.weight) / weight;
            (pool.weight, pool.count) = (weight, pool.count + above.count);
        }
        pools.push(pool);
    }
    let mut place = 0;
    for pool in pools {
        for _ in 0..pool.count {
            middles[column[place]] = pool.at + offsets[place];
            place += 1;
        }
    }
}
