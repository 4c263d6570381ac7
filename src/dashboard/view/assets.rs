//! The files beside the pages: stylesheet, icons, script. All are embedded into the binary.
//!
//! Their address holds a hash of their content, so that browsers may keep them for ever.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::error::PageError;

include!(concat!(env!("OUT_DIR"), "/vendor.rs"));

/// Our own files: name and content.
static OWN: &[(&str, &[u8])] = &[
    ("look.css", include_bytes!("../../../static/look.css")),
    ("icons.svg", include_bytes!("../../../static/icons.svg")),
    ("mark.svg", include_bytes!("../../../static/mark.svg")),
    ("throughline.js", include_bytes!("../../../static/throughline.js")),
];

struct Asset {
    name: &'static str,
    hash: String,
    content: &'static [u8],
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    OWN.iter()
        .chain(VENDOR)
        .map(|&(name, content)| Asset {
            name,
            hash: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(content)),
            content,
        })
        .collect()
});

/// The address of a file, with the hash of its content.
pub fn address(name: &str) -> String {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => format!("/static/{}/{name}", asset.hash),
        None => format!("/static/missing/{name}"),
    }
}

/// Whether the binary holds the file.
pub fn has(name: &str) -> bool {
    ASSETS.iter().any(|asset| asset.name == name)
}

/// `GET /static/{hash}/{name}`.
pub async fn serve(Path((hash, name)): Path<(String, String)>) -> Result<Response, PageError> {
    if name.contains(['/', '\\', '\0']) || hash.contains(['/', '\\', '\0']) {
        return Err(PageError::bad("That is not the name of a file here."));
    }
    let asset = ASSETS.iter().find(|asset| asset.name == name && asset.hash == hash).ok_or_else(|| {
        PageError::missing("No such file", "There is no such file, or only another version of it.")
    })?;
    let kind = match asset.name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let mut response = Body::from(asset.content).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Ok(response)
}
