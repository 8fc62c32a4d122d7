//! Capture files: pcap and pcapng, as Ethernet frames with their times.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// Read ahead; it grows with the blocks of the file, up to [`MAX_BLOCK`].
const BUFFER: usize = 64 * 1024;
/// How gzip begins (RFC 1952 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// No honest capture has a longer packet, or a longer block of something else that matters.
const MAX_BLOCK: usize = 16 * 1024 * 1024;
/// Interfaces that a capture may name.
const MAX_INTERFACES: usize = 65_536;

/// A packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Microseconds since 1970.
    pub(super) time: u64,
    /// An Ethernet frame, made up where the capture has none.
    pub(super) frame: Vec<u8>,
    /// The capture has only its beginning.
    pub(super) cut: bool,
}

/// Why a capture cannot be read, or not to its end.
#[derive(Debug)]
pub(super) enum CaptureError {
    Io(io::Error),
    NotACapture,
    /// The kind of link, by its number.
    LinkType(i32),
    /// Where it is damaged, in bytes from its beginning.
    Damaged(usize),
    /// It ends in the middle of a packet.
    Torn(usize),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::NotACapture => f.write_str("is neither pcap nor pcapng"),
            Self::LinkType(kind) => write!(
                f,
                "has packets of link type {kind}; known are loopback (0, 108), Ethernet (1), PPP (9), raw IP (101, 228, 229) and Linux cooked (113, 276)"
            ),
            Self::Damaged(at) => write!(f, "is damaged behind byte {at}"),
            Self::Torn(at) => write!(f, "ends in the middle of the packet that begins at byte {at}"),
        }
    }
}

/// An open capture.
pub(super) struct Capture {
    reader: Box<dyn PcapReaderIterator + Send>,
    /// Of a pcap file: fractions of a second in a microsecond's place, and the link.
    legacy: Option<(bool, Linktype)>,
    /// Of the section that is being read.
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy)]
struct Interface {
    link: Linktype,
    /// Ticks in a second.
    resolution: u64,
    /// Seconds to add.
    offset: i64,
    snaplen: u32,
}

/// What a block is to us.
enum Step {
    Packet(Packet),
    Nothing,
}

impl Capture {
    pub(super) fn open(path: &Path) -> Result<Self, CaptureError> {
        if path.as_os_str() == "-" {
            return Self::of(io::stdin());
        }
        let about = path.metadata().map_err(CaptureError::Io)?;
        if about.is_dir() {
            return Err(CaptureError::NotACapture);
        }
        Self::of(File::open(path).map_err(CaptureError::Io)?)
    }

    /// Packed or not: the first bytes say which.
    pub(super) fn of(reader: impl io::Read + Send + 'static) -> Result<Self, CaptureError> {
        let mut reader = io::BufReader::new(reader);
        if reader.fill_buf().map_err(CaptureError::Io)?.starts_with(&GZIP) {
            Self::of_plain(MultiGzDecoder::new(reader))
        } else {
            Self::of_plain(reader)
        }
    }

    fn of_plain(reader: impl io::Read + Send + 'static) -> Result<Self, CaptureError> {
        let reader = create_reader(BUFFER, reader).map_err(|error| match error {
            PcapError::ReadError => CaptureError::Io(io::Error::other("cannot be read")),
            _ => CaptureError::NotACapture,
        })?;
        Ok(Self { reader, legacy: None, interfaces: Vec::new() })
    }

    /// The next packet; none at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, CaptureError> {
        loop {
            let at = self.reader.consumed();
            let (length, step) = match self.reader.next() {
                Ok((length, block)) => (length, step(&mut self.legacy, &mut self.interfaces, block, at)?),
                Err(PcapError::Eof) => return Ok(None),
                Err(PcapError::Incomplete(_)) => {
                    self.more(at)?;
                    continue;
                }
                Err(PcapError::BufferTooSmall) => {
                    let size = self.reader.data().len().saturating_mul(2).max(2 * BUFFER);
                    if size > MAX_BLOCK || !self.reader.grow(size) {
                        return Err(CaptureError::Damaged(at));
                    }
                    self.more(at)?;
                    continue;
                }
                Err(PcapError::UnexpectedEof) => return Err(CaptureError::Torn(at)),
                Err(PcapError::ReadError) => {
                    return Err(CaptureError::Io(io::Error::other("cannot be read")));
                }
                Err(_) => return Err(CaptureError::Damaged(at)),
            };
            self.reader.consume(length);
            if let Step::Packet(packet) = step {
                return Ok(Some(packet));
            }
        }
    }

    /// Bytes of the file that are read.
    pub(super) fn position(&self) -> usize {
        self.reader.consumed()
    }

    fn more(&mut self, at: usize) -> Result<(), CaptureError> {
        let (had, exhausted) = (self.reader.data().len(), self.reader.reader_exhausted());
        self.reader.refill().map_err(|_| CaptureError::Damaged(at))?;
        // A reader that has nothing more to give, and a block that wants more.
        if exhausted && self.reader.data().len() == had {
            return Err(CaptureError::Torn(at));
        }
        Ok(())
    }
}

fn step(
    legacy: &mut Option<(bool, Linktype)>,
    interfaces: &mut Vec<Interface>,
    block: PcapBlockOwned<'_>,
    at: usize,
) -> Result<Step, CaptureError> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            *legacy = Some((header.is_nanosecond_precision(), header.network));
        }
        PcapBlockOwned::Legacy(packet) => {
            let (nanoseconds, link) = legacy.ok_or(CaptureError::Damaged(at))?;
            let micros = packet.ts_usec / if nanoseconds { 1000 } else { 1 };
            let time = u64::from(packet.ts_sec) * 1_000_000 + u64::from(micros);
            let cut = packet.caplen < packet.origlen;
            return Ok(Step::Packet(Packet { time, frame: ethernet(link, packet.data)?, cut }));
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            if interfaces.len() == MAX_INTERFACES {
                return Err(CaptureError::Damaged(at));
            }
            interfaces.push(Interface {
                link: interface.linktype,
                resolution: interface.ts_resolution().filter(|&n| n > 0).ok_or(CaptureError::Damaged(at))?,
                offset: interface.ts_offset(),
                snaplen: interface.snaplen,
            });
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let interface = interfaces.get(packet.if_id as usize).ok_or(CaptureError::Damaged(at))?;
            let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let data = packet.data.get(..packet.caplen as usize).ok_or(CaptureError::Damaged(at))?;
            let cut = packet.caplen < packet.origlen;
            let frame = ethernet(interface.link, data)?;
            return Ok(Step::Packet(Packet { time: interface.micros(ticks), frame, cut }));
        }
        // Has no time: it is as late as what came before it.
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let interface = interfaces.first().ok_or(CaptureError::Damaged(at))?;
            let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
            let length = packet.orig_len().min(snaplen) as usize;
            let data = packet.data.get(..length).ok_or(CaptureError::Damaged(at))?;
            let cut = length < packet.orig_len() as usize;
            return Ok(Step::Packet(Packet { time: 0, frame: ethernet(interface.link, data)?, cut }));
        }
        PcapBlockOwned::NG(_) => {}
    }
    Ok(Step::Nothing)
}

impl Interface {
    /// Microseconds since 1970; what lies outside of what the numbers hold, at their limit.
    fn micros(self, ticks: u64) -> u64 {
        let micros = u128::from(ticks) * 1_000_000 / u128::from(self.resolution);
        let micros = i128::try_from(micros).unwrap_or(i128::MAX);
        let shifted = micros.saturating_add(i128::from(self.offset) * 1_000_000);
        u64::try_from(shifted.max(0)).unwrap_or(u64::MAX)
    }
}

/// The packet as an Ethernet frame. Addresses of the link say nothing to policy, so where there are none, zeros do.
fn ethernet(link: Linktype, data: &[u8]) -> Result<Vec<u8>, CaptureError> {
    let made_up = |ethertype: [u8; 2], packet: &[u8]| [[0; 12].as_slice(), &ethertype, packet].concat();
    let ip = |packet: &[u8]| match packet.first().map(|byte| byte >> 4) {
        Some(4) => made_up([0x08, 0x00], packet),
        Some(6) => made_up([0x86, 0xdd], packet),
        _ => Vec::new(),
    };
    Ok(match link {
        Linktype::ETHERNET => data.to_vec(),
        // Of RAW, IPV4 and IPV6, the packet itself says what it is.
        Linktype::RAW | Linktype(228 | 229) => ip(data),
        // A number for the family comes first, in the byte order of whoever captured.
        Linktype::NULL | Linktype(108) => ip(data.get(4..).unwrap_or_default()),
        Linktype(9) => ip(ppp(data)),
        // Their headers have the Ethernet type at the end (16 bytes), or at the beginning (20 bytes).
        Linktype::LINUX_SLL => match data.split_at_checked(16) {
            Some((header, packet)) => made_up([header[14], header[15]], packet),
            None => Vec::new(),
        },
        Linktype(276) => match data.split_at_checked(20) {
            Some((header, packet)) => made_up([header[0], header[1]], packet),
            None => Vec::new(),
        },
        Linktype(other) => return Err(CaptureError::LinkType(other)),
    })
}

/// What a PPP frame carries, if that is IP: address and control may be left out, and zeros of the protocol (RFC 1661 6.5, 6.6).
fn ppp(frame: &[u8]) -> &[u8] {
    let frame = frame.strip_prefix(&[0xff, 0x03]).unwrap_or(frame);
    match frame {
        [0x00, 0x21 | 0x57, packet @ ..] | [0x21 | 0x57, packet @ ..] => packet,
        _ => &[],
    }
}
