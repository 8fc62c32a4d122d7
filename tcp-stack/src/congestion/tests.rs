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
    for law in [Congestion::Cubic, Congestion::NewReno] {
        let mut controller = Controller::new(law, 1000, 10);
        controller.on_delivery(&Delivery { limited: false, ..delivery(5_000) });
        assert_eq!(controller.window(), 10_000);
    }
}
