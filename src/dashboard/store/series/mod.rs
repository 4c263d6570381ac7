//! Series of metrics: kept as columns of samples, thinned out as they grow old.
//!
//! A metrics request's samples go through the one writer like spans, as a block of their own kind. Until the seal they
//! lie in those blocks and, to be read, in [`live`]; the seal writes them as chunks and removes the blocks. Those of the
//! last minutes stay in memory all the same, so that pages about now unpack no chunk (decision 34). What is old is merged
//! into longer chunks with fewer samples.
//!
//! * [`code`]: samples as bytes; [`thin`](mod@thin): fewer samples that tell the same.
//! * [`live`]: the series of the tail, the limits on their number, and what came last of each; [`known`]: one of them.
//! * [`chunk`]: the rows, and which samples lie in which; [`keep`]: merges and removes them.
//! * [`select`]: what a read asks for and gets.

pub mod chunk;
pub mod code;
pub mod keep;
pub mod known;
pub mod live;
pub mod select;
pub mod thin;
