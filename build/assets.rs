//! Brings htmx and its extension for server-sent events from npm, to be embedded into the binary.
//!
//! Where they come from, first hit wins:
//! 1. the folder named by `THROUGHLINE_ASSETS`, for builds without a network;
//! 2. `node_modules` beside `Cargo.toml`, where somebody has run `npm ci`;
//! 3. `npm ci` of the committed lock file, in the build's own output folder.
//!
//! Where all fail the build says so in one line and goes on: every page works without script.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// The files wanted, as they lie in the package's `dist` folder. Only the last part of the path is kept.
const WANTED: [&str; 2] = ["htmx.min.js", "ext/hx-sse.min.js"];

/// The file that both become. htmx looks through the page as soon as it runs; an extension in a file of its own may come
/// later than that over a slow network, and what it is wanted for is then never begun.
const TOGETHER: &str = "htmx.js";

/// Writes `$OUT_DIR/vendor.rs`, which the `view` module includes.
pub fn assets() {
    for input in ["package.json", "package-lock.json", "build/assets.rs", "build.rs"] {
        println!("cargo:rerun-if-changed={input}");
    }
    println!("cargo:rerun-if-env-changed=THROUGHLINE_ASSETS");
    if env::var_os("CARGO_FEATURE_DASHBOARD").is_none() {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let found = find(&out).unwrap_or_else(|why| {
        println!("cargo:warning=building without htmx, pages will be less lively: {why}");
        Vec::new()
    });
    let files = match join(&found) {
        Some(script) => {
            let path = out.join(TOGETHER);
            fs::write(&path, script).expect("OUT_DIR is writable");
            format!("    ({TOGETHER:?}, include_bytes!({:?})),\n", path.display().to_string())
        }
        None => String::new(),
    };
    let code = format!(
        "/// Files from npm: name and content.\npub static VENDOR: &[(&str, &[u8])] = &[\n{files}];\n"
    );
    fs::write(out.join("vendor.rs"), code).expect("OUT_DIR is writable");
}

/// All files as one script; none where there are none.
fn join(files: &[PathBuf]) -> Option<Vec<u8>> {
    let mut script = Vec::new();
    for path in files {
        script.extend(fs::read(path).expect("it was found"));
        // Whatever the file ends with, the next begins anew.
        script.extend(b"\n;\n");
    }
    (!script.is_empty()).then_some(script)
}

/// The wanted files, all of them, or why not.
fn find(out: &Path) -> Result<Vec<PathBuf>, String> {
    if let Some(folder) = env::var_os("THROUGHLINE_ASSETS") {
        let folder = PathBuf::from(folder);
        return all_in(&folder, true)
            .ok_or_else(|| format!("THROUGHLINE_ASSETS names {}, which lacks them", folder.display()));
    }
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    if let Some(found) = all_in(&root.join("node_modules/htmx.org/dist"), false) {
        return Ok(found);
    }
    let own = out.join("front-end");
    let installed = own.join("node_modules/htmx.org/dist");
    npm_ci(&root, &own)?;
    all_in(&installed, false).ok_or_else(|| "the package holds other files than expected".to_owned())
}

/// The wanted files if every one of them is in `folder`; `flat` looks for the bare names too.
fn all_in(folder: &Path, flat: bool) -> Option<Vec<PathBuf>> {
    WANTED
        .iter()
        .map(|wanted| {
            let nested = folder.join(wanted);
            let bare = folder.join(Path::new(wanted).file_name()?);
            [Some(nested), flat.then_some(bare)].into_iter().flatten().find(|path| path.is_file())
        })
        .collect()
}

/// Installs what the lock file names into `own`, unless the same lock file was installed there before.
fn npm_ci(root: &Path, own: &Path) -> Result<(), String> {
    let lock =
        fs::read(root.join("package-lock.json")).map_err(|error| format!("package-lock.json: {error}"))?;
    let done = own.join("installed-lock.json");
    if fs::read(&done).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    fs::create_dir_all(own).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(root.join(file), own.join(file)).map_err(|error| format!("{file}: {error}"))?;
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let status = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(own)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("npm cannot be started ({error})"))?;
    if !status.success() {
        return Err("`npm ci` failed (no network? THROUGHLINE_ASSETS can name a folder instead)".to_owned());
    }
    fs::write(done, lock).map_err(|error| error.to_string())
}
