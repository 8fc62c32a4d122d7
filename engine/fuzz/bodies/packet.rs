//! Classifying frames and scrubbing SYNs: the headers lie within the frame, and what was edited is sound again.

use wireglass_core::packet::{Class, classify, scrub_syn};

pub fn run(data: &[u8]) {
    let Class::Tcp(mut headers) = classify(data) else { return };
    assert!(headers.l3 < headers.l4 && headers.l4 < headers.end && headers.end <= data.len());
    let sound = headers.verify_checksums(data).is_ok();
    if headers.segment(data)[13] & 0x02 == 0 {
        return;
    }
    let mut frame = data.to_vec();
    scrub_syn(&mut frame, &mut headers, 1_460);
    assert_eq!(frame.len(), data.len());
    assert_eq!(classify(&frame), Class::Tcp(headers), "another packet than before");
    assert!(!sound || headers.verify_checksums(&frame).is_ok(), "a checksum is wrong now");
    let once = frame.clone();
    let again = scrub_syn(&mut frame, &mut headers, 1_460);
    assert_eq!((again, &frame), (Default::default(), &once), "there was something left to scrub");
}
