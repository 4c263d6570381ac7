//! What has to be there before the crate compiles: the front-end assets.

#[path = "build/assets.rs"]
mod assets;

fn main() {
    assets::assets();
}
