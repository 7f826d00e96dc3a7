//! Generates the messages and the client stubs of etcd, which `holdfast-bench compare` measures beside Holdfast.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tonic_prost_build::configure().build_server(false).bytes(".").compile_protos(&["proto/etcd.proto"], &["proto"])?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
