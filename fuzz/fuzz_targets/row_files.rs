#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_hostile::run("row_files", input));
