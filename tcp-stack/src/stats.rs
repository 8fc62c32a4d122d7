//! Counters of one connection.

/// What a connection has seen and done. Counters only grow; where its control loops stand is in [`Info`](crate::Info).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Segments handed in.
    pub segments_in: u64,
    /// Of these, those that only went on where the one before them in a burst had ended.
    pub merged: u64,
    /// Segments handed out.
    pub segments_out: u64,
    /// Payload bytes received in order (each counted once).
    pub bytes_in: u64,
    /// Bytes that were copied for what was received: each to its place, and again where the buffer had to move.
    pub bytes_copied: u64,
    /// Payload bytes sent for the first time.
    pub bytes_out: u64,
    /// Payload bytes sent again.
    pub retransmitted_bytes: u64,
    /// Segments sent again, for any reason.
    pub retransmits: u32,
    /// Fast retransmits begun (RFC 6582).
    pub fast_retransmits: u32,
    /// Expiries of the retransmission timer.
    pub rto_events: u32,
    /// Probes into a closed window.
    pub window_probes: u32,
    /// Duplicate ACKs received (RFC 5681 2).
    pub duplicate_acks: u32,
    /// Segments received whose payload was known already, wholly.
    pub duplicate_segments: u32,
    /// Segments received ahead of a gap.
    pub out_of_order: u32,
    /// Out-of-order segments dropped for lack of room (bytes or ranges).
    pub out_of_order_dropped: u32,
    /// Segments that overlapped bytes held out of order; the bytes that came first were kept.
    pub overlaps: u32,
    /// Overlaps whose bytes differed from those held: an attempt to have two readers see two streams.
    pub overlap_conflicts: u32,
    /// Segments outside the receive window (RFC 9293 3.10.7.4, first check).
    pub unacceptable: u32,
    /// Segments dropped by PAWS (RFC 7323 5).
    pub paws_dropped: u32,
    /// Acknowledgements of bytes never sent, or too old (RFC 5961 5).
    pub bad_acks: u32,
    /// Challenge ACKs owed (RFC 5961).
    pub challenges: u32,
    /// Probes by which the peer asked whether we are there (RFC 9293 3.8.4).
    pub keep_alives: u32,
    /// Challenge ACKs not sent because of their limit.
    pub challenges_limited: u32,
    /// Times that a router's message has lowered it (RFC 1191, RFC 8201).
    pub too_big: u32,
    /// Black holes found: larger segments vanished without a word (RFC 4821 7.7).
    pub black_holes: u32,
    /// Payload bytes and FINs that have arrived at the peer, as far as ACKs and SACKs tell.
    pub delivered: u64,
    /// Reports of bytes that arrived twice (RFC 2883).
    pub duplicate_sacks: u32,
    /// SACK blocks that cannot be: of bytes never sent, turned around, too old.
    pub sacks_refused: u32,
    /// SACKs taken back by the peer, found when the retransmission timer expired (RFC 2018 8).
    pub sacks_reneged: u32,
    /// Tail loss probes sent (RFC 8985 7).
    pub tail_probes: u32,
    /// Losses repaired by a tail loss probe.
    pub tail_losses: u32,
    /// Recoveries whose retransmissions turned out not to be needed; the congestion window was restored (RFC 4015).
    pub spurious_recoveries: u32,
    /// How often sending stopped because of [`crate::Config::flight_segments`].
    pub flight_limited: u32,
}
