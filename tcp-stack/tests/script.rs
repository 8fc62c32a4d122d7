//! One test for each story in `scripts/`, a folder for each topic of RFC 9293 and its relatives, and all eleven states.
#![allow(clippy::panic, reason = "tests")]

mod support;

macro_rules! stories {
    ($($topic:ident { $($name:ident = $file:literal;)* })*) => {
        $(
            mod $topic {
                $(
                    #[test]
                    fn $name() {
                        let path = concat!(stringify!($topic), "/", $file);
                        let text = include_str!(concat!("scripts/", stringify!($topic), "/", $file, ".pkt"));
                        crate::support::script::run(path, text);
                    }
                )*
            }
        )*

        const STORIES: &[(&str, &str)] = &[$($((
            concat!(stringify!($topic), "/", $file),
            include_str!(concat!("scripts/", stringify!($topic), "/", $file, ".pkt")),
        )),*),*];
    };
}

stories! {
    open {
        abort_in_syn_sent = "abort-in-syn-sent";
        close_in_syn_sent = "close-in-syn-sent";
        connect = "connect";
        connect_bad_ack = "connect-bad-ack";
        connect_gives_up = "connect-gives-up";
        connect_lost_syn = "connect-lost-syn";
        connect_refused = "connect-refused";
        connect_simultaneous = "connect-simultaneous";
        connect_without_options = "connect-without-options";
        ecn_is_declined = "ecn-is-declined";
        ecn_is_not_offered = "ecn-is-not-offered";
        listen = "listen";
        listen_lost_syn_ack = "listen-lost-syn-ack";
        listen_repeated_syn_is_not_timed = "listen-repeated-syn-is-not-timed";
        listen_refuses_strays = "listen-refuses-strays";
        small_mss_is_not_believed = "small-mss-is-not-believed";
        syn_received_bad_ack = "syn-received-bad-ack";
        syn_received_close = "syn-received-close";
        syn_received_gives_up = "syn-received-gives-up";
        syn_received_reset = "syn-received-reset";
    }
    adopt {
        adopt_honours_promise = "adopt-honours-promise";
        adopt_promise_is_bounded = "adopt-promise-is-bounded";
        adopt_scaled_windows = "adopt-scaled-windows";
        adopt_timestamps = "adopt-timestamps";
        adopt_transfer = "adopt-transfer";
        adopt_without_promise = "adopt-without-promise";
    }
    receive {
        duplicate_reacknowledged = "duplicate-reacknowledged";
        duplicate_told = "duplicate-told";
        duplicate_told_above_a_gap = "duplicate-told-above-a-gap";
        duplicate_without_sack = "duplicate-without-sack";
        old_ack_with_payload = "old-ack-with-payload";
        out_of_order = "out-of-order";
        out_of_order_limits = "out-of-order-limits";
        overlap_first_wins = "overlap-first-wins";
        overlap_in_order = "overlap-in-order";
        sack_beside_timestamps = "sack-beside-timestamps";
        segment_without_ack = "segment-without-ack";
        urgent_in_line = "urgent-in-line";
    }
    ack {
        at_once_around_gaps = "at-once-around-gaps";
        delayed_ack = "delayed-ack";
        delayed_ack_large_segment = "delayed-ack-large-segment";
        quick_after_silence = "quick-after-silence";
        quick_at_the_beginning = "quick-at-the-beginning";
    }
    window {
        ack_into_a_closed_window = "ack-into-a-closed-window";
        no_nagle = "no-nagle";
        not_tuned_for_what_stays = "not-tuned-for-what-stays";
        outside_the_window = "outside-the-window";
        pure_ack_on_the_edge = "pure-ack-on-the-edge";
        scale_0 = "scale-0";
        scale_14 = "scale-14";
        send_limit = "send-limit";
        sender_silly_avoidance = "sender-silly-avoidance";
        silence_shrinks_the_limit = "silence-shrinks-the-limit";
        tuned_by_what_is_taken = "tuned-by-what-is-taken";
        tuned_within_the_owners_limit = "tuned-within-the-owners-limit";
        wanted_queue = "wanted-queue";
        window_closes_and_opens = "window-closes-and-opens";
        window_limit_lowered = "window-limit-lowered";
        window_limit_raised_from_zero = "window-limit-raised-from-zero";
        window_scaled_is_not_taken_back = "window-scaled-is-not-taken-back";
        window_shrinks = "window-shrinks";
        window_silly_avoidance = "window-silly-avoidance";
        window_update_not_needed = "window-update-not-needed";
        window_update_order = "window-update-order";
    }
    persist {
        live_peer_without_limit = "live-peer-without-limit";
        probe_is_one_number = "probe-is-one-number";
        tiny_peer_buffer = "tiny-peer-buffer";
        probe_ahead_of_fin = "probe-ahead-of-fin";
        window_closed_over_flight = "window-closed-over-flight";
        window_shrunk_below_flight = "window-shrunk-below-flight";
        zero_window_fin = "zero-window-fin";
        zero_window_limit = "zero-window-limit";
        zero_window_probe_taken = "zero-window-probe-taken";
        zero_window_probes = "zero-window-probes";
        zero_window_unanswered = "zero-window-unanswered";
    }
    sack {
        blocks_that_cannot_be = "blocks-that-cannot-be";
        parts_of_segments = "parts-of-segments";
        sack_sent = "sack-sent";
        sacked_is_not_sent_again = "sacked-is-not-sent-again";
        taken_back = "taken-back";
    }
    loss {
        duplicate_acks_that_are_none = "duplicate-acks-that-are-none";
        fast_retransmit = "fast-retransmit";
        fast_retransmit_partial = "fast-retransmit-partial";
        karn = "karn";
        karn_fast_retransmit = "karn-fast-retransmit";
        no_fast_retransmit_after_timeout = "no-fast-retransmit-after-timeout";
        retransmission_timeout = "retransmission-timeout";
        sack_duplicate_acks = "sack-duplicate-acks";
        timeout_into_small_window = "timeout-into-small-window";
        timeout_with_new_bytes_in_flight = "timeout-with-new-bytes-in-flight";
    }
    rack {
        late_is_not_lost = "late-is-not-lost";
        lost_retransmission = "lost-retransmission";
        reordering_window = "reordering-window";
        sent_last_is_not_lost = "sent-last-is-not-lost";
    }
    tlp {
        last_segments_lost = "last-segments-lost";
        new_bytes_first = "new-bytes-first";
        not_without_sack = "not-without-sack";
        one_segment_waits_for_delayed_ack = "one-segment-waits-for-delayed-ack";
        probe_that_does_not_fit = "probe-that-does-not-fit";
        probe_was_not_needed = "probe-was-not-needed";
        repaired_by_the_probe = "repaired-by-the-probe";
    }
    prr {
        proportional = "proportional";
    }
    frto {
        new_segments_tell = "new-segments-tell";
        real = "real";
        spurious = "spurious";
    }
    undo {
        all_came_twice = "all-came-twice";
        duplicate_of_nothing_sent_again = "duplicate-of-nothing-sent-again";
        eifel = "eifel";
    }
    congestion {
        cubic_reduces_to_seven_tenths = "cubic-reduces-to-seven-tenths";
        flight_is_bounded = "flight-is-bounded";
        initial_window = "initial-window";
        paced = "paced";
        restart_after_idle = "restart-after-idle";
        window_not_used_does_not_grow = "window-not-used-does-not-grow";
    }
    timestamps {
        our_clock_wraps = "our-clock-wraps";
        outdated_after_24_days = "outdated-after-24-days";
        paws = "paws";
        peers_clock_wraps = "peers-clock-wraps";
        echo_of_a_lost_ack = "echo-of-a-lost-ack";
        round_trip_by_timestamps = "round-trip-by-timestamps";
        timestamps_of_gaps = "timestamps-of-gaps";
    }
    path_mtu {
        black_hole = "black-hole";
        black_hole_acks_were_late = "black-hole-acks-were-late";
        black_hole_echo_was_late = "black-hole-echo-was-late";
        black_hole_is_not_the_size = "black-hole-is-not-the-size";
        black_hole_needs_large_segments = "black-hole-needs-large-segments";
        black_hole_not_looked_for = "black-hole-not-looked-for";
        black_hole_seen_after_progress = "black-hole-seen-after-progress";
        black_hole_to_the_floor = "black-hole-to-the-floor";
        too_big = "too-big";
        too_big_after_the_end = "too-big-after-the-end";
        too_big_ends_a_trial = "too-big-ends-a-trial";
        too_big_floor = "too-big-floor";
        too_big_known = "too-big-known";
        too_big_out_of_window = "too-big-out-of-window";
        too_big_small_flight = "too-big-small-flight";
        too_big_too_often = "too-big-too-often";
        too_big_while_repairing = "too-big-while-repairing";
        too_big_with_timestamps = "too-big-with-timestamps";
        too_big_wraps = "too-big-wraps";
    }
    wrap {
        wrap_receive = "wrap-receive";
        wrap_send = "wrap-send";
        wrap_signed = "wrap-signed";
    }
    blind {
        ack_of_the_future = "ack-of-the-future";
        ack_too_old = "ack-too-old";
        challenges_are_drawn = "challenges-are-drawn";
        challenges_are_limited = "challenges-are-limited";
        data_with_forged_ack = "data-with-forged-ack";
        reset_exact = "reset-exact";
        reset_in_window = "reset-in-window";
        reset_outside_the_window = "reset-outside-the-window";
        syn_anywhere = "syn-anywhere";
        syn_in_established = "syn-in-established";
        syn_in_syn_received = "syn-in-syn-received";
        time_wait_reset = "time-wait-reset";
    }
    lifetime {
        closing_gives_up = "closing-gives-up";
        fin_wait_1_gives_up = "fin-wait-1-gives-up";
        fin_wait_2_timeout = "fin-wait-2-timeout";
        gives_up_after_retries = "gives-up-after-retries";
        gives_up_after_user_timeout = "gives-up-after-user-timeout";
        half_closed_and_forgotten = "half-closed-and-forgotten";
        half_closed_for_long = "half-closed-for-long";
        idle_memory = "idle-memory";
        keep_alive_answered = "keep-alive-answered";
        keep_alive_sent = "keep-alive-sent";
        probe_on_request = "probe-on-request";
        probe_while_bytes_are_in_flight = "probe-while-bytes-are-in-flight";
        time_wait_ends = "time-wait-ends";
        user_timeout_counts_from_sending = "user-timeout-counts-from-sending";
    }
    close {
        abort = "abort";
        abort_in_last_ack = "abort-in-last-ack";
        abort_in_time_wait = "abort-in-time-wait";
        close_acknowledged_by_fin = "close-acknowledged-by-fin";
        close_first = "close-first";
        close_second = "close-second";
        close_simultaneous = "close-simultaneous";
        closed_answers = "closed-answers";
        data_after_fin = "data-after-fin";
        data_beyond_noted_fin = "data-beyond-noted-fin";
        fin_again = "fin-again";
        fin_ahead_of_gap = "fin-ahead-of-gap";
        fin_beyond_window = "fin-beyond-window";
        fin_first_wins = "fin-first-wins";
        fin_follows_queue = "fin-follows-queue";
        fin_needs_window = "fin-needs-window";
        fin_retransmitted = "fin-retransmitted";
        fin_with_payload = "fin-with-payload";
        half_close_receive = "half-close-receive";
        half_close_send = "half-close-send";
        last_ack_retransmits = "last-ack-retransmits";
        time_wait_answers = "time-wait-answers";
    }
}

/// A story that nobody runs would be no test.
#[test]
#[allow(clippy::disallowed_methods, reason = "looks at the folder of stories")]
fn every_story_is_run() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let within = |folder: &std::path::Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path()).collect()
    };
    for topic in within(folder.as_ref()).into_iter().filter(|path| path.is_dir()) {
        for path in within(&topic) {
            let story = path.with_extension("");
            let name = story.strip_prefix(folder).expect("within").to_str().expect("plain name");
            assert!(STORIES.iter().any(|(file, _)| *file == name), "{name} is not listed");
        }
    }
}

#[test]
fn every_state_is_reached() {
    let states = [
        "Closed",
        "Listen",
        "SynSent",
        "SynReceived",
        "Established",
        "FinWait1",
        "FinWait2",
        "CloseWait",
        "Closing",
        "LastAck",
        "TimeWait",
    ];
    for state in states {
        let line = format!("state {state}");
        let told = STORIES
            .iter()
            .any(|(_, text)| text.lines().any(|l| l.split('#').next().unwrap_or("").trim().ends_with(&line)));
        assert!(told, "no story sees {state}");
    }
}
