//! The order in which what is lost is sent again.

use super::*;

const START: Seq = Seq(1_000);
const SENT: Instant = Instant::from_millis_const(100);

/// `count` segments of 100, each sent a millisecond after the one before.
fn flight(count: i64) -> Flight {
    let mut flight = Flight::new(START);
    for n in 0..count {
        flight.push(100, 1, Instant::from_millis(100 + n), false);
    }
    flight
}

/// What is lost, in the order in which it is to be sent again, as distances from [`START`].
fn order(flight: &mut Flight) -> Vec<u32> {
    let mut order = Vec::new();
    while let Some((lost, _)) = flight.first_lost() {
        order.push(lost.seq.since(START));
        flight.resend(lost.len, SENT);
    }
    order
}

/// The peer's window, or ours after a timeout, may have room for one segment: another than the first would be sent again
/// and again, and the peer would wait for the first one for ever.
#[test]
fn after_a_timeout_the_first_one_is_sent_first() {
    let mut flight = flight(6);
    // Lost one by one, so that the list is not in order: the second one hangs behind the fifth.
    for pos in [0, 4, 1] {
        flight.lose(pos);
        flight.finger = NONE;
    }
    flight.acknowledge(START + 100, |_| {});
    assert_eq!(flight.first_lost().map(|(lost, _)| lost.seq), Some(START + 400));
    flight.lose_sent_until(SENT);
    flight.check().unwrap();
    assert_eq!(flight.first_lost(), Some((Lost { seq: START + 100, len: 100 }, true)));
    assert_eq!(order(&mut flight), [100, 400]);
}

/// Of a segment that is longer than what may be sent now, a part may be under way: after a timeout it is gone as well.
#[test]
fn after_a_timeout_nothing_of_what_was_lost_counts_as_sent_again() {
    let mut flight = flight(2);
    flight.lose(0);
    flight.resend(60, SENT);
    flight.lose_sent_until(SENT);
    flight.check().unwrap();
    assert_eq!(flight.first_lost(), Some((Lost { seq: START, len: 100 }, true)));
}
