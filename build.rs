//! What has to be there before the crate compiles: the front-end assets, and the code of `proto/`, generated
//! without an installed protoc.

#[path = "build/assets.rs"]
mod assets;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    assets::assets();
    #[cfg(feature = "comms")]
    service("user")?;
    #[cfg(feature = "demo")]
    service("inventory")?;
    Ok(())
}

/// A gRPC service of `proto/`, client and server, and its description for server reflection.
#[cfg(feature = "comms")]
fn service(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let file = format!("{name}.proto");
    println!("cargo:rerun-if-changed=proto/{file}");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_file(&file)?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join(format!("{name}.binpb")), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
