//! The rules of the repository that a compiler does not know. Each is tried on something that breaks it, too, so that no
//! rule can rot into one that always holds.

mod checklist;
mod crates;
mod files;
mod layers;
mod pages;
mod rule;
mod source;
