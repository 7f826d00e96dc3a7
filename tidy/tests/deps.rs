//! `.ci/deps` looks for libclang where bindgen will look, so that the first build does not end for want of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/deps")
}

/// Whether a machine with these files has a libclang that bindgen can use.
fn finds(name: &str, files: &[&str], libclang_path: Option<&str>) -> bool {
    let root = std::env::temp_dir().join(format!("holdfast-deps-{}-{name}", std::process::id()));
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("files lie in folders")).expect("the folder is made");
        fs::write(path, "").expect("the file is written");
    }
    fs::create_dir_all(&root).expect("the folder is made");
    let mut command = Command::new("bash");
    command.arg(script()).arg("libclang").env("DEPS_ROOT", &root).env("LLVM_CONFIG_PATH", "false");
    for variable in ["LIBCLANG_PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH"] {
        command.env_remove(variable);
    }
    if let Some(path) = libclang_path {
        command.env("LIBCLANG_PATH", root.join(path));
    }
    let output = command.output().expect("bash runs");
    fs::remove_dir_all(&root).expect("the folder is removed");
    match String::from_utf8_lossy(&output.stdout).trim() {
        "there is one" => true,
        "there is none" => false,
        other => panic!("{name}: {other} {}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
fn libclang_is_looked_for_where_bindgen_looks() {
    let headers = "usr/lib/llvm-14/lib/clang/14.0.6/include/stddef.h";
    assert!(!finds("nothing", &[], None));
    assert!(!finds(
        "only-cpp",
        &["usr/lib/llvm-14/lib/libclang-cpp.so.14", "usr/lib/x86_64-linux-gnu/libclang-cpp.so.14", headers],
        None
    ));
    assert!(!finds("no-headers", &["usr/lib/llvm-14/lib/libclang.so.1"], None));
    assert!(finds("debian", &["usr/lib/llvm-14/lib/libclang.so.1", headers], None));
    assert!(finds("debian-14-name", &["usr/lib/llvm-14/lib/libclang-14.so.1", headers], None));
    let other = ["usr/local/llvm-19/lib/libclang.so.19", "usr/local/llvm-19/lib/clang/19/include/stddef.h"];
    assert!(finds("other-version-folder", &other, None));
}

/// bindgen loads the newest one: that an older one is whole helps nobody.
#[test]
fn the_libclang_that_is_loaded_must_have_its_own_headers() {
    let old = ["usr/lib/llvm-14/lib/libclang.so.1", "usr/lib/x86_64-linux-gnu/libclang-14.so.14.0.6"];
    let new = ["usr/lib/llvm-15/lib/libclang-15.so.1", "usr/lib/x86_64-linux-gnu/libclang-15.so.15.0.6"];
    let headers =
        ["usr/lib/llvm-14/lib/clang/14.0.6/include/stddef.h", "usr/lib/llvm-15/lib/clang/15.0.6/include/stddef.h"];
    assert!(finds("old", &[old[0], old[1], headers[0]], None));
    assert!(!finds("new-bare", &[old[0], old[1], new[0], new[1], headers[0]], None));
    assert!(finds("both", &[old[0], old[1], new[0], new[1], headers[0], headers[1]], None));
}

#[test]
fn a_libclang_path_is_the_only_place_that_counts() {
    let files = ["usr/lib/llvm-14/lib/libclang.so.1", "usr/lib/llvm-14/lib/clang/14.0.6/include/stddef.h"];
    assert!(!finds("path-elsewhere", &files, Some("opt")));
    assert!(finds("path-folder", &files, Some("usr/lib/llvm-14/lib")));
    assert!(finds("path-file", &files, Some("usr/lib/llvm-14/lib/libclang.so.1")));
}
