//! What a Rust function links: input, a rayon pool of the granted size, progress, cancel, result
