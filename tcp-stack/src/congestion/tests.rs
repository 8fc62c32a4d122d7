//! The window's way through slow start, losses and pauses.

use super::*;

fn delivery(bytes: u32) -> Delivery {
    Delivery {
        now: Instant::from_secs(1),
        bytes,
        rtt: None,
        srtt: Duration::from_millis(100),
        una: Seq(0),
        nxt: Seq(0),
        limited: true,
        stale: false,
    }
}

#[test]
fn initial_window_follows_rfc_6928() {
    let initial = |smss, segments| Controller::new(Congestion::Cubic, smss, segments).window();
    assert_eq!(initial(1460, 10), 14_600);
    assert_eq!(initial(536, 10), 5_360);
    assert_eq!(initial(8_960, 10), 17_920);
    assert_eq!(initial(1460, 1), 1_460);
}

#[test]
fn newreno_adds_one_segment_per_window() {
    let mut controller = Controller::new(Congestion::NewReno, 1000, 10);
    controller.on_delivery(&delivery(2_000));
    assert_eq!(controller.window(), 12_000);
    controller.on_delivery(&delivery(100_000));
    assert_eq!(controller.window(), 20_000);
    controller.on_loss();
    controller.on_recovered();
    assert_eq!((controller.window(), controller.threshold()), (10_000, 10_000));
    for _ in 0..9 {
        controller.on_delivery(&delivery(1_000));
    }
    assert_eq!(controller.window(), 10_000);
    controller.on_delivery(&delivery(1_000));
    assert_eq!(controller.window(), 11_000);
}

#[test]
fn a_timeout_restarts_from_one_segment_and_reduces_once() {
    let mut controller = Controller::new(Congestion::NewReno, 1000, 10);
    controller.on_timeout(true);
    assert_eq!((controller.window(), controller.threshold()), (1_000, 5_000));
    controller.on_timeout(false);
    assert_eq!((controller.window(), controller.threshold()), (1_000, 5_000));
    controller.on_delivery(&Delivery { stale: true, ..delivery(4_000) });
    assert_eq!(controller.window(), 2_000);
}

#[test]
fn an_unused_window_does_not_grow() {
    for algorithm in [Congestion::Cubic, Congestion::NewReno] {
        let mut controller = Controller::new(algorithm, 1000, 10);
        controller.on_delivery(&Delivery { limited: false, ..delivery(5_000) });
        assert_eq!(controller.window(), 10_000);
    }
}

/// One round trip of ten segments, each with this round-trip time.
fn round(controller: &mut Controller, number: u32, millis: u64) {
    for i in 0..10 {
        controller.on_delivery(&Delivery {
            rtt: Some(Duration::from_millis(millis)),
            una: Seq(number * 10_000 + i * 1_000),
            nxt: Seq((number + 1) * 10_000),
            ..delivery(1_000)
        });
    }
}

/// RFC 9406 4.2: an eighth more is a queue; growth is a quarter then, and after five rounds of it slow start is over.
#[test]
fn slow_start_ends_when_the_round_trip_grows() {
    let mut controller = Controller::new(Congestion::Cubic, 1000, 10);
    round(&mut controller, 0, 50);
    round(&mut controller, 1, 56);
    assert_eq!(controller.window(), 30_000, "56 ms is less than an eighth more");
    round(&mut controller, 2, 64);
    let slowed = controller.window();
    assert!((37_000..39_000).contains(&slowed), "from the eighth sample on: {slowed}");
    for number in 3..7 {
        round(&mut controller, number, 64);
        assert_eq!(controller.window(), slowed + (number - 2) * 2_500);
        assert!(controller.is_slow_start());
    }
    round(&mut controller, 7, 64);
    assert!(!controller.is_slow_start());
}

/// RFC 9406 4.2: it was jitter.
#[test]
fn slow_start_goes_on_when_the_round_trip_shrinks_again() {
    let mut controller = Controller::new(Congestion::Cubic, 1000, 10);
    for (number, millis) in [50, 50, 70, 50].into_iter().enumerate() {
        round(&mut controller, number as u32, millis);
    }
    let before = controller.window();
    round(&mut controller, 4, 50);
    assert_eq!(controller.window(), before + 10_000);
}

/// RFC 9438 4.2: K seconds after a loss at 100 segments the window is there again, and at 2 K as far above as it was below.
#[test]
fn cubic_comes_back_after_k_and_goes_on() {
    let mut controller = Controller::new(Congestion::Cubic, 1000, 100);
    controller.on_loss();
    controller.on_recovered();
    assert_eq!(controller.window(), 70_000);
    let k = (30.0f64 / 0.4).cbrt();
    let mut tenth = 0;
    let mut until = |controller: &mut Controller, seconds: f64| {
        while f64::from(tenth) < seconds * 10.0 {
            let now = Instant::from_secs(100) + Duration::from_millis(u64::from(tenth) * 100);
            controller.on_delivery(&Delivery { now, ..delivery(controller.window()) });
            tenth += 1u32;
        }
        controller.window()
    };
    let (back, beyond) = (until(&mut controller, k), until(&mut controller, 2.0 * k));
    assert!((99_000..=101_000).contains(&back), "{back}");
    assert!((128_000..=132_000).contains(&beyond), "{beyond}");
}
