//! [`windlass_fuzz::termination_message`] for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    windlass_fuzz::termination_message(bytes);
});
