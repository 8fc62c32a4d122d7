//! A connection to which anything happens, in whichever role.

use arbitrary::{Result, Unstructured};

use super::subject::{Arriving, Beginning, Step, Subject};

/// Most steps of one input.
const STEPS: usize = 300;

pub fn run(data: &[u8]) {
    let input = &mut Unstructured::new(data);
    let Ok((beginning, ours, theirs)) = opening(input) else { return };
    let mut subject = Subject::new(&beginning, ours, theirs);
    subject.settle();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        // Input that ends early has done its work.
        let Ok(step) = step(input) else { break };
        subject.step(&step);
    }
    subject.rest();
}

fn opening(input: &mut Unstructured<'_>) -> Result<(Beginning, u32, u32)> {
    let beginning = match input.int_in_range(0..=3)? {
        0 => Beginning::Connect { scale: input.arbitrary()?, mss: input.arbitrary()? },
        1 => Beginning::Listen { scale: input.arbitrary()?, mss: input.arbitrary()? },
        _ => Beginning::Adopt {
            scales: (input.int_in_range(0..=20)?, input.int_in_range(0..=20)?),
            sack: input.arbitrary()?,
            timestamps: input.arbitrary()?,
            mss: input.arbitrary()?,
            promised: input.int_in_range(0..=3_000_000)?,
            window: input.int_in_range(0..=200_000)?,
        },
    };
    Ok((beginning, start(input)?, start(input)?))
}

/// Sequence numbers near both wraps, and anywhere.
fn start(input: &mut Unstructured<'_>) -> Result<u32> {
    let near = u32::from(input.arbitrary::<u16>()? % 4_000);
    Ok(match input.int_in_range(0..=2)? {
        0 => u32::MAX - near,
        1 => (1 << 31) - near,
        _ => near << 16,
    })
}

fn step(input: &mut Unstructured<'_>) -> Result<Step> {
    Ok(match input.int_in_range(0..=33)? {
        0..=17 => Step::Segment(arriving(input)?),
        18 => {
            let len = input.int_in_range(0..=60)?;
            Step::Raw(input.bytes(len.min(input.len()))?.to_vec())
        }
        19 | 20 => Step::Wait(input.int_in_range(0..=2_000)?),
        21..=23 => Step::NextTimer,
        24 | 25 => Step::Send(input.int_in_range(1..=20_000)?),
        26 | 27 => Step::Consume(input.int_in_range(1..=20_000)?),
        28 => Step::RecvLimit(input.int_in_range(0..=40_000)?),
        29 => Step::SendLimit(input.int_in_range(0..=80_000)?),
        30 => Step::Probe,
        31 => Step::TooBig(near(input)?, input.arbitrary()?),
        32 => Step::Close,
        _ if input.int_in_range(0..=9)? == 0 => Step::Abort,
        _ => Step::NextTimer,
    })
}

/// From where the connection stands.
fn near(input: &mut Unstructured<'_>) -> Result<i64> {
    Ok(match input.int_in_range(0..=9)? {
        0..=3 => 0,
        4..=7 => input.int_in_range(-3_000..=6_000)?,
        8 => input.int_in_range(-70_000..=70_000)?,
        _ => i64::from(input.arbitrary::<u32>()?),
    })
}

fn arriving(input: &mut Unstructured<'_>) -> Result<Arriving> {
    let bits: u8 = input.arbitrary()?;
    Ok(Arriving {
        seq: near(input)?,
        len: if bits & 1 == 0 { 0 } else { input.int_in_range(1..=2_500)? },
        ack: if bits & 6 == 6 { None } else { Some(near(input)?) },
        // Rarely: each of them ends something.
        fin: bits & 0x38 == 0x38,
        syn: bits & 0xb0 == 0xb0,
        rst: bits & 0xc8 == 0xc8,
        window: if bits & 0x41 == 0x41 { 0 } else { input.arbitrary()? },
        timestamps: if bits & 0x11 == 0x11 {
            Some((input.int_in_range(-5..=200)?, input.arbitrary()?))
        } else {
            None
        },
        sack: blocks(input, bits)?,
    })
}

/// None, or as many as an option holds; mostly within what is in flight.
fn blocks(input: &mut Unstructured<'_>, bits: u8) -> Result<Vec<(i64, u32)>> {
    let mut blocks = Vec::new();
    if bits & 0x22 == 0x22 {
        for _ in 0..input.int_in_range(1..=4)? {
            blocks.push((
                near(input)?,
                if input.ratio(1, 8)? { input.arbitrary()? } else { input.int_in_range(0..=6_000)? },
            ));
        }
    }
    Ok(blocks)
}
