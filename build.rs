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

/// The demo shop's `UserService`, client and server, and its description for server reflection.
#[cfg(feature = "comms")]
fn user_service() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/user.proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_file("proto/user.proto")?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("user.binpb"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
