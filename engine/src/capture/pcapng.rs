//! pcapng blocks (draft-ietf-opsawg-pcapng): sections, interfaces, packets and secrets.

/// Block types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;
/// Types of options.
const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;
/// Ethernet.
const LINK_TYPE: u16 = 1;
/// The secrets of a block are lines of a TLS key log.
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// The beginning of a file whose interfaces are called so.
pub(super) fn header(out: &mut Vec<u8>, interfaces: &[String]) {
    block(out, SECTION_HEADER, |out| {
        out.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
        // Version 1.0, and a section of a length that nobody knows.
        out.extend_from_slice(&[1, 0, 0, 0]);
        out.extend_from_slice(&u64::MAX.to_le_bytes());
    });
    for name in interfaces {
        block(out, INTERFACE_DESCRIPTION, |out| {
            out.extend_from_slice(&LINK_TYPE.to_le_bytes());
            out.extend_from_slice(&[0; 6]);
            option(out, INTERFACE_NAME, name.as_bytes());
            option(out, 0, &[]);
        });
    }
}

/// A frame. `time`: microseconds since the Unix epoch.
pub(super) fn packet(out: &mut Vec<u8>, interface: u32, time: u64, bytes: &[u8], comment: Option<&str>) {
    block(out, ENHANCED_PACKET, |out| {
        for word in [interface, (time >> 32) as u32, time as u32, bytes.len() as u32, bytes.len() as u32] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        padded(out, bytes);
        if let Some(comment) = comment {
            option(out, COMMENT, comment.as_bytes());
            option(out, 0, &[]);
        }
    });
}

/// The secrets of a flow: to come before its frames, as readers go through a file once.
pub(super) fn secrets(out: &mut Vec<u8>, lines: &str) {
    block(out, DECRYPTION_SECRETS, |out| {
        out.extend_from_slice(&TLS_KEY_LOG.to_le_bytes());
        out.extend_from_slice(&(lines.len() as u32).to_le_bytes());
        padded(out, lines.as_bytes());
    });
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() + 4 - start) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(1024)];
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    padded(out, value);
}

/// To 32 bits.
fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len() + bytes.len().wrapping_neg() % 4, 0);
}

#[cfg(test)]
mod tests {
    use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
    use pcap_parser::{Block, PcapBlockOwned, PcapNGReader};

    use super::*;

    /// Read by somebody else's code.
    #[test]
    fn blocks_are_what_others_read() {
        let mut file = Vec::new();
        header(&mut file, &["lan inside".into(), "plaintext".into()]);
        secrets(&mut file, "CLIENT_RANDOM 00 11\n");
        packet(&mut file, 1, 0x0001_0000_0002, b"12345", Some("flow_id 7"));
        packet(&mut file, 0, 3, b"", None);
        let mut reader = PcapNGReader::new(65_536, &file[..]).unwrap();
        let mut seen = Vec::new();
        while let Ok((length, found)) = reader.next() {
            let PcapBlockOwned::NG(found) = found else { panic!("pcapng") };
            seen.push(match found {
                Block::SectionHeader(_) => "section".to_owned(),
                Block::InterfaceDescription(it) => {
                    format!(
                        "{} {}",
                        it.linktype.0,
                        String::from_utf8_lossy(it.options[0].as_bytes().unwrap())
                    )
                }
                Block::DecryptionSecrets(it) => {
                    format!(
                        "{:x} {}",
                        it.secrets_type.0,
                        String::from_utf8_lossy(&it.data[..it.secrets_len as usize])
                    )
                }
                Block::EnhancedPacket(it) => {
                    format!(
                        "{} {}:{} {:?} {}",
                        it.if_id,
                        it.ts_high,
                        it.ts_low,
                        it.packet_data(),
                        it.options.len()
                    )
                }
                other => panic!("{other:?}"),
            });
            reader.consume(length);
        }
        let wanted = [
            "section",
            "1 lan inside",
            "1 plaintext",
            "544c534b CLIENT_RANDOM 00 11\n",
            "1 1:2 [49, 50, 51, 52, 53] 2",
            "0 0:3 [] 0",
        ];
        assert_eq!(seen, wanted);
    }
}
