//! Tells cargo what the crate embeds from outside its own folder, so that a new migration or template is never left out.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
    println!("cargo:rerun-if-changed=../templates");
}
