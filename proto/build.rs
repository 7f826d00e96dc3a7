//! Generates messages (always) and stubs (feature `rpc`) from `proto/`.

use std::env;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["common", "kv", "fleet", "admin", "audit", "trust", "transport", "store", "storage", "placement"]
        .map(|name| format!("proto/holdfast/v1/{name}.proto"));
    let rpc = env::var_os("CARGO_FEATURE_RPC").is_some();
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("holdfast.v1.bin");
    // By its name a message is found among the descriptors.
    let mut names = prost_build::Config::new();
    names.enable_type_names();
    tonic_prost_build::configure()
        .build_client(rpc)
        .build_server(rpc)
        .bytes(".")
        .file_descriptor_set_path(descriptors)
        .codec_path("crate::codec::BoundedCodec")
        .compile_with_config(names, &files, &["proto".to_string()])?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
