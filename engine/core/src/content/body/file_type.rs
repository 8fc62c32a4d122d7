//! The type of a file, by its first bytes: whatever its name is, and whatever its sender calls it.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::zip;

/// A file that is none of the types is known to be none when so many bytes of it have come: where a PDF may begin.
const ENOUGH: usize = 1024;
/// Likewise one that is a container of others.
pub(super) const ENOUGH_OF_CONTAINER: usize = 4096;
/// Where a tar archive says that it is one.
const TAR_AT: usize = 257;
/// What a PDF begins with.
static PDF: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"%PDF-"));
/// Windows loads no program whose PE header lies beyond this.
const MAX_PE_OFFSET: u32 = 256 << 20;

macro_rules! file_types {
    ($($variant:ident = $name:literal, $group:expr, $help:literal;)*) => {
        /// A type of file. Names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FileType {
            $(#[doc = $help] $variant,)*
        }

        impl FileType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As configurations and events have it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The name of several of which it is one; none: it stands alone.
            pub const fn group(self) -> Option<&'static str> {
                match self { $(Self::$variant => $group),* }
            }

            /// One sentence for people.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help),* }
            }
        }
    };
}

file_types! {
    Exe = "exe", Some("executable"), "A program for Windows (PE).";
    Dll = "dll", Some("executable"), "A library for Windows (PE).";
    Msi = "msi", Some("executable"), "An installer for Windows whose directory is among its first bytes; else it is `ole`.";
    Elf = "elf", Some("executable"), "A program or library for Linux and others.";
    MachO = "macho", Some("executable"), "A program or library for macOS.";
    Apk = "apk", Some("executable"), "An app for Android.";
    Dex = "dex", Some("executable"), "Code for Android.";
    Jar = "jar", Some("executable"), "Java classes in a ZIP archive.";
    Class = "class", Some("executable"), "A Java class.";
    Wasm = "wasm", Some("executable"), "WebAssembly.";
    Lnk = "lnk", Some("executable"), "A shortcut of Windows.";
    Script = "script", Some("script"), "A script that says so itself: #!, <?php, @echo off.";
    Zip = "zip", Some("archive"), "A ZIP archive of no other kind.";
    SevenZip = "7z", Some("archive"), "7-Zip.";
    Rar = "rar", Some("archive"), "RAR.";
    Gzip = "gzip", Some("archive"), "gzip as a file; a content coding is none.";
    Bzip2 = "bzip2", Some("archive"), "bzip2.";
    Xz = "xz", Some("archive"), "xz.";
    Zstd = "zstd", Some("archive"), "zstd as a file; a content coding is none.";
    Tar = "tar", Some("archive"), "tar.";
    Cab = "cab", Some("archive"), "A cabinet of Windows.";
    Docx = "docx", Some("office"), "A text of Office Open XML.";
    Xlsx = "xlsx", Some("office"), "A spreadsheet of Office Open XML.";
    Pptx = "pptx", Some("office"), "A presentation of Office Open XML.";
    Ooxml = "ooxml", Some("office"), "Office Open XML of which the first bytes do not say more.";
    Odf = "odf", Some("office"), "OpenDocument.";
    Ole = "ole", Some("office"), "The older files of Office, and others in a Compound File.";
    Rtf = "rtf", Some("office"), "Rich Text.";
    Pdf = "pdf", None, "PDF; it may begin within the first 1024 bytes.";
    Epub = "epub", None, "EPUB.";
    Html = "html", None, "HTML, as browsers sniff it.";
    Xml = "xml", None, "XML that says so, SVG among it.";
    Image = "image", None, "PNG, JPEG, GIF, WebP, BMP, TIFF or an icon.";
    Unknown = "unknown", None, "None of the others.";
}

impl FileType {
    /// The types of this name, or in this group.
    pub fn named(name: &str) -> Vec<Self> {
        let is_it = |kind: &&Self| kind.name() == name || kind.group() == Some(name);
        Self::ALL.iter().filter(is_it).copied().collect()
    }

    /// The type of what begins like this; none: more of it is needed.
    pub fn of(bytes: &[u8], is_whole: bool) -> Option<Self> {
        let unless_more = |kind, enough| (is_whole || bytes.len() >= enough).then_some(kind);
        if let Some(kind) = by_magic(bytes) {
            return match kind {
                Self::Zip => {
                    zip::kind(bytes).or_else(|| unless_more(zip::last_resort(bytes), ENOUGH_OF_CONTAINER))
                }
                Self::Ole if is_msi(bytes) => Some(Self::Msi),
                Self::Ole => unless_more(Self::Ole, ENOUGH_OF_CONTAINER),
                kind => Some(kind),
            };
        }
        if bytes.starts_with(b"MZ") {
            let found = program(bytes, is_whole || bytes.len() >= ENOUGH_OF_CONTAINER)?;
            if found != Self::Unknown {
                return Some(found);
            }
        }
        if let Some(kind) = by_text(bytes) {
            return Some(kind);
        }
        // What is known first stands, so that nothing that follows makes another type of it.
        let pdf = PDF.find(&bytes[..bytes.len().min(ENOUGH + 4)]);
        let is_tar = bytes.get(TAR_AT..).is_some_and(|rest| rest.starts_with(b"ustar"));
        match pdf {
            Some(at) if at < TAR_AT || !is_tar => Some(Self::Pdf),
            _ if is_tar => Some(Self::Tar),
            _ => unless_more(Self::Unknown, ENOUGH),
        }
    }
}

/// What a file begins with, and what it is.
type Magic = (&'static [u8], FileType);

const MAGICS: &[Magic] = &[
    (b"\x7fELF", FileType::Elf),
    (b"\xfe\xed\xfa\xce", FileType::MachO),
    (b"\xfe\xed\xfa\xcf", FileType::MachO),
    (b"\xce\xfa\xed\xfe", FileType::MachO),
    (b"\xcf\xfa\xed\xfe", FileType::MachO),
    (b"PK\x03\x04", FileType::Zip),
    (b"PK\x05\x06", FileType::Zip),
    (b"PK\x07\x08PK\x03\x04", FileType::Zip),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileType::Ole),
    (b"7z\xbc\xaf\x27\x1c", FileType::SevenZip),
    (b"Rar!\x1a\x07", FileType::Rar),
    (b"\x1f\x8b\x08", FileType::Gzip),
    (b"BZh", FileType::Bzip2),
    (b"\xfd7zXZ\0", FileType::Xz),
    (b"\x28\xb5\x2f\xfd", FileType::Zstd),
    (b"MSCF\0\0\0\0", FileType::Cab),
    (b"dex\n0", FileType::Dex),
    (b"\0asm", FileType::Wasm),
    (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", FileType::Lnk),
    // Word reads no further.
    (b"{\\rt", FileType::Rtf),
    (b"\x89PNG\r\n\x1a\n", FileType::Image),
    (b"\xff\xd8\xff", FileType::Image),
    (b"GIF87a", FileType::Image),
    (b"GIF89a", FileType::Image),
    (b"II*\0", FileType::Image),
    (b"MM\0*", FileType::Image),
    (b"\0\0\x01\0", FileType::Image),
];

fn by_magic(bytes: &[u8]) -> Option<FileType> {
    let has = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    if has(0, b"\xca\xfe\xba\xbe") {
        // A fat Mach-O says how many it has in it, a class its version, which has begun at 45.
        let next = bytes.get(4..8)?;
        return Some(if next[..2] == [0, 0] && next[2] == 0 && next[3] < 40 {
            FileType::MachO
        } else {
            FileType::Class
        });
    }
    if has(0, b"RIFF") && has(8, b"WEBP") || has(0, b"BM") && has(6, b"\0\0\0\0") {
        return Some(FileType::Image);
    }
    MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, kind)| *kind)
}

/// What begins with MZ. A text may. None: more of it is needed.
fn program(bytes: &[u8], is_enough: bool) -> Option<FileType> {
    let field = |at: usize| bytes.get(at..at + 4).and_then(|octets| octets.first_chunk::<4>());
    let Some(offset) = field(0x3c).map(|octets| u32::from_le_bytes(*octets)) else {
        return is_enough.then_some(FileType::Unknown);
    };
    if offset >= MAX_PE_OFFSET {
        return Some(FileType::Unknown);
    }
    let at = offset as usize;
    match (field(at), bytes.get(at + 22..at + 24)) {
        (Some(b"PE\0\0"), Some(characteristics)) => {
            // IMAGE_FILE_DLL.
            let is_library = characteristics[1] & 0x20 != 0;
            Some(if is_library { FileType::Dll } else { FileType::Exe })
        }
        (Some(b"PE\0\0") | None, None) if !is_enough => None,
        // Where it is cannot be seen. No text has such an offset.
        (Some(b"PE\0\0") | None, _) => Some(FileType::Exe),
        _ => Some(FileType::Unknown),
    }
}

/// The directory of a Compound File begins with the root, and that has the class of what made it.
fn is_msi(bytes: &[u8]) -> bool {
    const CLASS: &[u8] = b"\x84\x10\x0c\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
    let number = |at: usize, len: usize| {
        bytes
            .get(at..at + len)
            .map(|octets| octets.iter().rev().fold(0usize, |value, octet| value << 8 | usize::from(*octet)))
    };
    let (Some(shift @ 9..=12), Some(sector)) = (number(0x1e, 2), number(0x30, 4)) else { return false };
    let root = (sector + 1) << shift;
    bytes.get(root + 0x50..root + 0x60) == Some(CLASS)
}

/// Tags that browsers sniff (WHATWG MIME Sniffing, 7.1), without their `<`.
const TAGS: [&str; 17] = [
    "!doctype html",
    "html",
    "head",
    "script",
    "iframe",
    "h1",
    "div",
    "font",
    "table",
    "a",
    "style",
    "title",
    "b",
    "body",
    "br",
    "p",
    "!--",
];

fn by_text(bytes: &[u8]) -> Option<FileType> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.starts_with(b"#!") {
        return Some(FileType::Script);
    }
    let text = bytes.trim_ascii_start();
    let begins = |start: &[u8]| text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start));
    if begins(b"<?php") || begins(b"@echo off") {
        return Some(FileType::Script);
    }
    if begins(b"<?xml") || begins(b"<svg") {
        return Some(FileType::Xml);
    }
    let rest = text.strip_prefix(b"<")?;
    let is_tag = |tag: &&str| {
        let has = rest.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()));
        has && (*tag == "!--" || matches!(rest.get(tag.len()), Some(b' ' | b'>')))
    };
    TAGS.iter().any(is_tag).then_some(FileType::Html)
}
