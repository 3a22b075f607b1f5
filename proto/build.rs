//! Generates the wire types and stubs from `tentacle.proto`, without any `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=tentacle.proto");
    let descriptors = protox::compile(["tentacle.proto"], ["."])?;
    tonic_prost_build::configure()
        // The package's bytes go from the socket to the disk without a copy between.
        .bytes(".octopus.tentacle.v1.UploadChunk.data")
        .btree_map(".octopus.tentacle.v1.InstallWork")
        .compile_fds(descriptors)?;
    Ok(())
}
