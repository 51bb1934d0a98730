#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bevy_iap_fuzz::targets::catalog::run(bytes));
