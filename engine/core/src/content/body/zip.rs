//! What kind of file a ZIP archive is, by the names in its first local headers.

use super::file_type::FileType;

/// Names that are looked at.
const MAX_NAMES: usize = 64;

/// The kind, if the names that are there show it.
pub(super) fn kind(bytes: &[u8]) -> Option<FileType> {
    const KINDS: &[(&[u8], FileType)] = &[
        (b"AndroidManifest.xml", FileType::Apk),
        (b"classes.dex", FileType::Apk),
        (b"resources.arsc", FileType::Apk),
        (b"word/", FileType::Docx),
        (b"xl/", FileType::Xlsx),
        (b"ppt/", FileType::Pptx),
    ];
    names(bytes).find_map(|(name, content)| {
        if name == b"mimetype" {
            let is = |kind: &[u8]| content.starts_with(kind);
            let odf = is(b"application/vnd.oasis.opendocument.").then_some(FileType::Odf);
            return odf.or_else(|| is(b"application/epub+zip").then_some(FileType::Epub));
        }
        KINDS.iter().find(|(start, _)| name.starts_with(start)).map(|(_, kind)| *kind)
    })
}

/// The kind, if no more is to be seen.
pub(super) fn last_resort(bytes: &[u8]) -> FileType {
    let has = |wanted: fn(&[u8]) -> bool| names(bytes).any(|(name, _)| wanted(name));
    if has(|name| name == b"[Content_Types].xml" || name.starts_with(b"_rels/")) {
        FileType::Ooxml
    } else if has(|name| name.starts_with(b"META-INF/") || name.ends_with(b".class")) {
        FileType::Jar
    } else {
        FileType::Zip
    }
}

/// The name of each local header, up to one that is not complete, and what follows it. Where sizes stand behind the content, only looking for headers finds them.
fn names(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let headers = memchr::memmem::find_iter(bytes, b"PK\x03\x04");
    let named = headers.map_while(|at| {
        let header = &bytes[at..];
        let length = |at: usize| {
            header.get(at..at + 2).map(|octets| usize::from(octets[0]) | usize::from(octets[1]) << 8)
        };
        let (name, extra) = (length(26)?, length(28)?);
        let content = header.get(30 + name + extra..).unwrap_or_default();
        Some((header.get(30..30 + name)?, content))
    });
    named.take(MAX_NAMES)
}
