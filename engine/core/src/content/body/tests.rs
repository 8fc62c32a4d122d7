//! Bodies as programs write them: the samples are from gzip, zstd, brotli and Python's zlib. Each `zeros` is 200 MiB of them.

use std::ops::ControlFlow;

use super::*;
use crate::fields::{Field, Fields};
use crate::reason::Reason;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("samples/", $name))
    };
}

const SAMPLES: &[(&str, Coding, &[u8])] = &[
    ("gzip", Coding::Gzip, sample!("gzip.gz")),
    ("two members", Coding::Gzip, sample!("two_members.gz")),
    ("zlib", Coding::Deflate, sample!("python.zlib")),
    ("raw deflate", Coding::Deflate, sample!("python.raw")),
    ("brotli", Coding::Brotli, sample!("brotli.br")),
    ("zstd", Coding::Zstd, sample!("zstd.zst")),
    ("zstd from a pipe", Coding::Zstd, sample!("piped.zst")),
    ("two frames", Coding::Zstd, sample!("two_frames.zst")),
];

fn plain() -> Vec<u8> {
    (0..8000).flat_map(|line| format!("line {line} of the sample\n").into_bytes()).collect()
}

/// All of it, in pieces of so many bytes; and the most memory that it took.
fn decode(decoder: &mut Decoder, coded: &[u8], piece: usize) -> Result<(Vec<u8>, usize), Undecodable> {
    let (mut plain, mut memory) = (Vec::new(), 0);
    for piece in coded.chunks(piece) {
        let flow = decoder.push(piece, &mut |bytes| {
            plain.extend_from_slice(bytes);
            ControlFlow::Continue(())
        })?;
        assert_eq!(flow, ControlFlow::Continue(()));
        memory = memory.max(decoder.memory());
    }
    decoder.finish()?;
    Ok((plain, memory))
}

fn decoded(coding: Coding, coded: &[u8], piece: usize) -> Result<Vec<u8>, Undecodable> {
    let mut decoder = Decoder::new(Codings::one(coding), DecodeLimits::default());
    decode(&mut decoder, coded, piece).map(|(plain, _)| plain)
}

fn codings(text: &str) -> Result<Codings, Undecodable> {
    let mut fields = Fields::default();
    for value in text.split('|') {
        fields.push(Field { name: b"Content-Encoding", value: value.as_bytes(), never_indexed: false });
    }
    Codings::of(&fields)
}

#[test]
fn what_programs_write_is_read_in_any_pieces() {
    for (name, coding, coded) in SAMPLES {
        for piece in [1, 7, 1460, usize::MAX] {
            assert!(decoded(*coding, coded, piece) == Ok(plain()), "{name} in pieces of {piece}");
        }
    }
}

#[test]
fn two_codings_are_undone_from_the_outside() {
    let inner: &[u8] = sample!("zstd.zst");
    // Stored blocks (RFC 1951, 3.2.4), in which nothing is compressed.
    let mut outer = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let len = (inner.len() as u16).to_le_bytes();
    outer.extend([1, len[0], len[1], !len[0], !len[1]]);
    outer.extend(inner);
    let mut crc = !0u32;
    for byte in inner {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    outer.extend((!crc).to_le_bytes());
    outer.extend((inner.len() as u32).to_le_bytes());
    let both = codings("zstd, gzip").unwrap();
    for piece in [1, 1000, usize::MAX] {
        let mut decoder = Decoder::new(both, DecodeLimits::default());
        assert!(decode(&mut decoder, &outer, piece).unwrap().0 == plain());
    }
    assert_eq!(first_type(both, &outer, true), Ok(First::Is(FileType::Unknown)));
}

#[test]
fn codings_by_their_names() {
    assert_eq!(codings("identity"), Ok(Codings::default()));
    assert_eq!(codings(" GZip "), Ok(Codings::one(Coding::Gzip)));
    assert_eq!(codings("x-gzip,"), codings("gzip"));
    assert_eq!(codings("br|zstd"), codings("br, zstd"));
    for unknown in ["compress", "dcb", "gzip, x", "gzip, br, zstd", "gzip;q=1"] {
        assert_eq!(codings(unknown), Err(Undecodable::Unknown), "{unknown}");
    }
}

#[test]
fn bombs_end_at_their_bounds() {
    let bombs = [(Coding::Zstd, &sample!("zeros.zst")[..]), (Coding::Brotli, &sample!("zeros.br")[..])];
    for (coding, coded) in bombs {
        let (mut decoder, mut made) = (Decoder::new(Codings::one(coding), DecodeLimits::default()), 0);
        let result = decoder.push(coded, &mut |bytes| {
            made += bytes.len();
            ControlFlow::Continue(())
        });
        assert_eq!(result, Err(Undecodable::Bomb), "{coding:?}");
        assert!(made <= 1000 * coded.len() + (1 << 20), "{coding:?} made {made}");
    }
    assert_eq!(Undecodable::Bomb.reason(), Reason::ContentBomb);
    let limits = DecodeLimits { output: 100_000, ..DecodeLimits::default() };
    for (name, coding, coded) in SAMPLES {
        let result = decode(&mut Decoder::new(Codings::one(*coding), limits), coded, 1000);
        assert_eq!(result.map(|_| ()), Err(Undecodable::Bomb), "{name}");
    }
}

#[test]
fn a_window_that_is_too_large_is_refused() {
    assert_eq!(decoded(Coding::Zstd, sample!("long.zst"), 100), Err(Undecodable::Window));
    assert_eq!(decoded(Coding::Brotli, sample!("wide.br"), 100), Err(Undecodable::Window));
    // Clients take that one, and its first bytes need none of it.
    let brotli = Codings::one(Coding::Brotli);
    assert_eq!(first_type(brotli, sample!("wide.br"), true), Ok(First::Is(FileType::Unknown)));
}

#[test]
fn what_is_cut_off_or_damaged_is_not_whole() {
    for (name, coding, coded) in SAMPLES {
        let cut = &coded[..coded.len() - 5];
        assert_eq!(decoded(*coding, cut, 100).map(|_| ()), Err(Undecodable::Truncated), "{name}");
        let mut decoder = Decoder::new(Codings::one(*coding), DecodeLimits::default());
        assert_eq!(decode(&mut decoder, b"", 1).map(|(plain, _)| plain), Ok(Vec::new()), "{name}");
    }
    for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
        assert_eq!(decoded(coding, b"\x11no such thing", 1), Err(Undecodable::Broken), "{coding:?}");
    }
    assert_eq!(Undecodable::Broken.reason(), Reason::ContentEncoding);
    let mut behind = sample!("gzip.gz").to_vec();
    behind.extend(b"what clients pass over");
    assert!(decoded(Coding::Gzip, &behind, 10) == Ok(plain()));
    behind = sample!("zstd.zst").to_vec();
    behind.extend(b"what no client takes");
    assert_eq!(decoded(Coding::Zstd, &behind, 10), Err(Undecodable::Broken));
}

#[test]
fn the_memory_of_a_decoder_is_known() {
    for (name, coding, coded) in SAMPLES {
        let mut decoder = Decoder::new(Codings::one(*coding), DecodeLimits::default());
        let (_, memory) = decode(&mut decoder, coded, 100).unwrap();
        assert!((32 << 10..12 << 20).contains(&memory), "{name}: {memory}");
    }
}

#[test]
fn the_first_bytes_of_what_is_coded() {
    for (name, coding, coded) in SAMPLES {
        let codings = Codings::one(*coding);
        assert_eq!(first_type(codings, b"", false), Ok(First::NeedsMore), "{name}");
        assert_eq!(first_type(codings, &coded[..1], false), Ok(First::NeedsMore), "{name}");
        assert_eq!(first_type(codings, coded, false), Ok(First::Is(FileType::Unknown)), "{name}");
    }
    let gzip = Codings::one(Coding::Gzip);
    assert_eq!(first_type(gzip, b"no gzip", false), Err(Undecodable::Broken));
    assert_eq!(first_type(gzip, &sample!("gzip.gz")[..12], true), Err(Undecodable::Truncated));
}

/// Codings have places for what is no content, of any length: what does not show for them is not unknown.
#[test]
fn what_a_coding_puts_before_the_content_hides_no_type() {
    // The name of a file (RFC 1952, 2.3.1), stored blocks without content (RFC 1951, 3.2.4), metadata (RFC 7932, 9.2), a frame to be
    // skipped (RFC 8878, 3.1.2).
    let name = [&b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"[..], &vec![b'n'; MAX_CODED]].concat();
    let blocks = b"\0\0\0\xff\xff".repeat(MAX_CODED / 5 + 1);
    let metadata = [&b"\x6c\xff\xff\x3f"[..], &vec![b'm'; MAX_CODED]].concat();
    let skipped = [&b"\x50\x2a\x4d\x18\xff\xff\xff\0"[..], &vec![b's'; MAX_CODED]].concat();
    for (coding, coded) in
        [(Coding::Gzip, name), (Coding::Deflate, blocks), (Coding::Brotli, metadata), (Coding::Zstd, skipped)]
    {
        let first = first_type(Codings::one(coding), &coded[..MAX_CODED], false);
        assert_eq!(first, Ok(First::NeedsMore), "{coding:?}");
    }
    // Nor is what shows too little of itself.
    let begun = [&b"\0\x02\0\xfd\xffPK"[..], &b"\0\0\0\xff\xff".repeat(MAX_CODED / 5)].concat();
    assert_eq!(first_type(Codings::one(Coding::Deflate), &begun[..MAX_CODED], false), Ok(First::NeedsMore));
    // What a server flushes in small pieces shows in time, also where a block of zstd follows in which nothing is compressed.
    let small = |byte: u8| [&[8 * 4, 0, 0][..], &[byte; 4]].concat();
    let mut flushed = b"\x28\xb5\x2f\xfd\0\x48".to_vec();
    (0..255).for_each(|_| flushed.extend(small(b'x')));
    flushed.extend([&((128u32 << 10) << 3).to_le_bytes()[..3], &vec![b'y'; 128 << 10]].concat());
    assert_eq!(
        first_type(Codings::one(Coding::Zstd), &flushed[..flushed.len().min(MAX_CODED)], false),
        Ok(First::Is(FileType::Unknown))
    );
}

/// A head of `len` bytes with these in it.
fn with(len: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; len];
    for (at, part) in parts {
        file[*at..at + part.len()].copy_from_slice(part);
    }
    file
}

fn zip(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut file = Vec::new();
    for (name, content) in entries {
        file.extend(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        file.extend((content.len() as u32).to_le_bytes());
        file.extend((content.len() as u32).to_le_bytes());
        file.extend((name.len() as u16).to_le_bytes());
        file.extend([0, 0]);
        file.extend(name.bytes().chain(content.bytes()));
    }
    file
}

fn program(offset: u32, flags: u8) -> Vec<u8> {
    let at = offset as usize;
    with(at + 24, &[(0, b"MZ"), (0x3c, &offset.to_le_bytes()), (at, b"PE\0\0"), (at + 23, &[flags])])
}

#[test]
fn types_of_files() {
    let class = b"\x84\x10\x0c\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
    let ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
    let cases: Vec<(FileType, Vec<u8>)> = vec![
        (FileType::Exe, program(0x80, 0)),
        (FileType::Dll, program(0x80, 0x20)),
        (FileType::Exe, program(5000, 0)),
        (FileType::Exe, program(0x80, 0)[..0x84].to_vec()),
        (FileType::Unknown, with(200, &[(0, b"MZ"), (0x3c, &[0x80])])),
        (
            FileType::Unknown,
            b"MZ is how this text begins, which is long enough to have an offset in it.".to_vec(),
        ),
        (FileType::Unknown, b"MZ".to_vec()),
        (FileType::Elf, b"\x7fELF\x02\x01\x01".to_vec()),
        (FileType::MachO, b"\xcf\xfa\xed\xfe".to_vec()),
        (FileType::MachO, b"\xca\xfe\xba\xbe\0\0\0\x02".to_vec()),
        (FileType::Class, b"\xca\xfe\xba\xbe\0\0\0\x41".to_vec()),
        (FileType::Msi, with(4096, &[(0, ole), (0x1e, &[9]), (0x30, &[1]), (1024 + 0x50, class)])),
        (FileType::Ole, with(4096, &[(0, ole), (0x1e, &[9]), (0x30, &[1])])),
        (FileType::Ole, with(64, &[(0, ole), (0x1e, &[0xff]), (0x30, &[0xff; 4])])),
        (FileType::Lnk, b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46".to_vec()),
        (FileType::Wasm, b"\0asm\x01\0\0\0".to_vec()),
        (FileType::Dex, b"dex\n035\0".to_vec()),
        (
            FileType::Docx,
            zip(&[("[Content_Types].xml", "x"), ("_rels/.rels", "x"), ("word/document.xml", "x")]),
        ),
        (FileType::Xlsx, zip(&[("[Content_Types].xml", "x"), ("xl/workbook.xml", "x")])),
        (FileType::Pptx, zip(&[("ppt/presentation.xml", "x")])),
        (FileType::Ooxml, zip(&[("[Content_Types].xml", "x")])),
        (FileType::Odf, zip(&[("mimetype", "application/vnd.oasis.opendocument.text")])),
        (FileType::Epub, zip(&[("mimetype", "application/epub+zip")])),
        (FileType::Jar, zip(&[("META-INF/", ""), ("META-INF/MANIFEST.MF", "x")])),
        (FileType::Apk, zip(&[("META-INF/x", ""), ("AndroidManifest.xml", "x")])),
        (FileType::Zip, zip(&[("notes.txt", "x")])),
        (FileType::Zip, b"PK\x05\x06".to_vec()),
        (FileType::Zip, b"PK\x03\x04\xff\xff".to_vec()),
        (FileType::SevenZip, b"7z\xbc\xaf\x27\x1c\0".to_vec()),
        (FileType::Rar, b"Rar!\x1a\x07\x01\0".to_vec()),
        (FileType::Gzip, sample!("gzip.gz").to_vec()),
        (FileType::Zstd, sample!("zstd.zst").to_vec()),
        (FileType::Bzip2, b"BZh9".to_vec()),
        (FileType::Xz, b"\xfd7zXZ\0".to_vec()),
        (FileType::Cab, b"MSCF\0\0\0\0".to_vec()),
        (FileType::Tar, with(512, &[(0, b"name"), (257, b"ustar\0")])),
        (FileType::Pdf, b"%PDF-1.7".to_vec()),
        (FileType::Pdf, with(1024, &[(1000, b"%PDF-1.7")])),
        (FileType::Tar, with(1024, &[(257, b"ustar\0"), (512, b"%PDF-1.7")])),
        (FileType::Pdf, with(1024, &[(100, b"%PDF-1.7"), (257, b"ustar\0")])),
        (FileType::Script, with(1024, &[(0, b"#!/bin/sh\n"), (257, b"ustar\0")])),
        (FileType::Rtf, b"{\\rtf1".to_vec()),
        (FileType::Rtf, b"{\\rt0 and Word opens it".to_vec()),
        (FileType::Script, b"#!/usr/bin/env python3\n".to_vec()),
        (FileType::Script, b"\xef\xbb\xbf#!/bin/sh".to_vec()),
        (FileType::Script, b"\r\n@ECHO OFF\r\n".to_vec()),
        (FileType::Script, b"<?php echo 1;".to_vec()),
        (FileType::Html, b"\n <!DOCTYPE HTML>".to_vec()),
        (FileType::Html, b"<html>".to_vec()),
        (FileType::Unknown, b"<htmlx>".to_vec()),
        (FileType::Xml, b"<?xml version=\"1.0\"?>".to_vec()),
        (FileType::Image, b"\x89PNG\r\n\x1a\n".to_vec()),
        (FileType::Image, b"RIFF\0\0\0\0WEBP".to_vec()),
        (FileType::Unknown, b"{\"a\": 1}".to_vec()),
        (FileType::Unknown, Vec::new()),
    ];
    for (kind, file) in &cases {
        let begin = &file[..file.len().min(16)];
        assert_eq!(FileType::of(file, true), Some(*kind), "{}", begin.escape_ascii());
        // What is said early stands.
        for len in 0..file.len() {
            let early = FileType::of(&file[..len], false);
            assert!(
                early.is_none_or(|early| early == *kind),
                "{early:?} after {len} of {}",
                begin.escape_ascii()
            );
        }
    }
}

#[test]
fn types_have_names_of_their_own_and_groups() {
    let groups = ["executable", "script", "archive", "office"];
    for kind in FileType::ALL {
        assert_eq!(FileType::named(kind.name()), [*kind]);
        assert!(kind.group().is_none_or(|group| groups.contains(&group)) && !kind.help().is_empty());
    }
    assert!(groups.iter().all(|group| !FileType::named(group).is_empty()));
    assert_eq!(FileType::named("nothing"), []);
}
