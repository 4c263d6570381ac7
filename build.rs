//! Generates code from the protocol definitions in `proto/`, without an installed protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
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
