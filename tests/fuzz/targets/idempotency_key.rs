//! [`windlass_fuzz::idempotency_key`] for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    windlass_fuzz::idempotency_key(bytes);
});
