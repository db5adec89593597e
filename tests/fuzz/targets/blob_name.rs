//! [`windlass_fuzz::blob_name`] for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    windlass_fuzz::blob_name(bytes);
});
