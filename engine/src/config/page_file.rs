//! The file with the template of block pages.

use std::path::Path;

use wireglass_core::content::Page;

use super::files;

/// Reads and checks a template of block pages.
///
/// # Errors
/// `FILE:LINE: ` and what was expected, and what was found.
pub fn read_page(path: &Path) -> Result<Page, String> {
    let text = files::text(path)?;
    Page::new(&text).map_err(|error| match error.line {
        Some(line) => format!("{}:{line}: {}", path.display(), error.message),
        None => format!("{}: {}", path.display(), error.message),
    })
}
