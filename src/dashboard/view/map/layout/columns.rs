//! In which column each node stands, and what stands for an edge in the columns that it passes.

use super::{Size, Tie};

/// A node, or the place where a long edge passes a column.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// Index of the node; `None` for an edge that passes.
    pub node: Option<usize>,
    pub column: usize,
    pub width: f64,
    pub height: f64,
}

/// Nodes in columns.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub vertices: Vec<Vertex>,
    /// The vertices of each column, from above.
    pub columns: Vec<Vec<usize>>,
    /// The widest of each column.
    pub widths: Vec<f64>,
    /// Neighbours in the column to the left, and to the right.
    pub left: Vec<Vec<usize>>,
    pub right: Vec<Vec<usize>>,
    /// Of each edge the vertices from left to right, and whether it leads from right to left. Empty for an edge from a
    /// node to itself.
    pub chains: Vec<(Vec<usize>, bool)>,
}

/// Puts what is tied to others into columns.
pub fn columns(nodes: &[Size], edges: &[Tie], tied: &[bool]) -> Graph {
    let back = back_edges(nodes.len(), edges);
    let turned = |(tie, back): (&Tie, &bool)| if *back { (tie.to, tie.from) } else { (tie.from, tie.to) };
    let forward: Vec<(usize, usize)> = edges.iter().zip(&back).map(turned).collect();
    let column = column_of_each(nodes.len(), &forward);
    let mut graph = Graph::default();
    for (index, size) in nodes.iter().enumerate() {
        let Size { width, height, .. } = *size;
        graph.vertices.push(Vertex { node: Some(index), column: column[index], width, height });
    }
    let count = (0..nodes.len()).filter(|node| tied[*node]).map(|node| column[node] + 1).max().unwrap_or(0);
    graph.widths = vec![0.0; count];
    for vertex in graph.vertices.iter().filter(|vertex| vertex.node.is_some_and(|node| tied[node])) {
        graph.widths[vertex.column] = graph.widths[vertex.column].max(vertex.width);
    }
    for (&(from, to), back) in forward.iter().zip(&back) {
        let mut chain = Vec::new();
        if from != to {
            chain.push(from);
            for column in column[from] + 1..column[to] {
                chain.push(graph.vertices.len());
                graph.vertices.push(Vertex { node: None, column, width: graph.widths[column], height: 0.0 });
            }
            chain.push(to);
        }
        graph.chains.push((chain, *back));
    }
    graph.left = vec![Vec::new(); graph.vertices.len()];
    graph.right = vec![Vec::new(); graph.vertices.len()];
    for (chain, _) in &graph.chains {
        for pair in chain.windows(2) {
            graph.right[pair[0]].push(pair[1]);
            graph.left[pair[1]].push(pair[0]);
        }
    }
    graph.columns = first_order(&graph, tied);
    graph
}

/// The edges that lead back: those that close a ring, when one goes from callers to what they call; and weak ones, as far as
/// that closes none.
fn back_edges(count: usize, edges: &[Tie]) -> Vec<bool> {
    let mut out: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut called = vec![false; count];
    for (number, tie) in edges.iter().enumerate().filter(|(_, tie)| tie.from != tie.to && !tie.weak) {
        out[tie.from].push(number);
        called[tie.to] = true;
    }
    let mut back = vec![false; edges.len()];
    rings(edges, &out, &called, &mut back);
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (tie, back) in edges.iter().zip(&back).filter(|(tie, _)| tie.from != tie.to && !tie.weak) {
        let (from, to) = if *back { (tie.to, tie.from) } else { (tie.from, tie.to) };
        after[from].push(to);
    }
    for (tie, back) in edges.iter().zip(&mut back).filter(|(tie, _)| tie.from != tie.to && tie.weak) {
        *back = !reaches(&after, tie.from, tie.to);
        let (from, to) = if *back { (tie.to, tie.from) } else { (tie.from, tie.to) };
        after[from].push(to);
    }
    back
}

/// Whether a way leads from one node to another.
fn reaches(after: &[Vec<usize>], from: usize, to: usize) -> bool {
    let (mut seen, mut open) = (vec![false; after.len()], vec![from]);
    while let Some(node) = open.pop() {
        if node == to {
            return true;
        }
        if !std::mem::replace(&mut seen[node], true) {
            open.extend(&after[node]);
        }
    }
    false
}

/// Marks the edges that close a ring; `out` holds those that count, by where they come from.
fn rings(edges: &[Tie], out: &[Vec<usize>], called: &[bool], back: &mut [bool]) {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let count = out.len();
    let mut state = vec![State::New; count];
    let roots = (0..count).filter(|node| !called[*node]).chain(0..count);
    for root in roots {
        if state[root] != State::New {
            continue;
        }
        // By hand and not by recursion: a chain may be as long as the graph.
        let mut path = vec![(root, 0)];
        state[root] = State::Open;
        while let Some((node, next)) = path.last_mut() {
            let Some(&edge) = out[*node].get(*next) else {
                state[*node] = State::Done;
                path.pop();
                continue;
            };
            *next += 1;
            let to = edges[edge].to;
            match state[to] {
                State::Open => back[edge] = true,
                State::Done => {}
                State::New => {
                    state[to] = State::Open;
                    path.push((to, 0));
                }
            }
        }
    }
}

/// As far left as callers allow; who calls only, right before the first that it calls.
fn column_of_each(count: usize, forward: &[(usize, usize)]) -> Vec<usize> {
    let mut callers = vec![0usize; count];
    let mut out: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (from, to) in forward.iter().filter(|(from, to)| from != to) {
        callers[*to] += 1;
        out[*from].push(*to);
    }
    let first: Vec<usize> = (0..count).filter(|node| callers[*node] == 0).collect();
    let (mut column, mut ready) = (vec![0usize; count], first.clone());
    while let Some(node) = ready.pop() {
        for to in &out[node] {
            column[*to] = column[*to].max(column[node] + 1);
            callers[*to] -= 1;
            if callers[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    for node in first {
        if let Some(nearest) = out[node].iter().map(|to| column[*to]).min() {
            column[node] = nearest.saturating_sub(1);
        }
    }
    column
}

/// Columns in the order in which one comes by their vertices: what belongs together begins together.
fn first_order(graph: &Graph, tied: &[bool]) -> Vec<Vec<usize>> {
    let mut columns = vec![Vec::new(); graph.widths.len()];
    let mut seen = vec![false; graph.vertices.len()];
    let is_tied = |vertex: usize| graph.vertices[vertex].node.is_none_or(|node| tied[node]);
    let mut roots: Vec<usize> = (0..graph.vertices.len()).filter(|vertex| is_tied(*vertex)).collect();
    roots.sort_by_key(|vertex| (!graph.left[*vertex].is_empty(), graph.vertices[*vertex].column, *vertex));
    for root in roots {
        let mut stack = vec![root];
        while let Some(vertex) = stack.pop() {
            if std::mem::replace(&mut seen[vertex], true) {
                continue;
            }
            columns[graph.vertices[vertex].column].push(vertex);
            stack.extend(graph.right[vertex].iter().rev().copied());
        }
    }
    columns
}
