//! [`windlass_fuzz::progress_line`] for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    windlass_fuzz::progress_line(bytes);
});
