//! What has to be there before the crate compiles: the front-end assets, and the code of `proto/`, generated
//! without an installed protoc.

#[path = "build/assets.rs"]
mod assets;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    assets::assets();
    #[cfg(feature = "comms")]
    user_service()?;
    Ok(())
}

/// The demo shop's `UserService`, client and server.
#[cfg(feature = "comms")]
fn user_service() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/user.proto");
    let files = protox::compile(["proto/user.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
