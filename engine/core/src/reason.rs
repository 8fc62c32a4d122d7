//! Every way a packet or a flow can end, in one list each: enum, code and help text come from the same line.

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal, $help:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = $help] $(#[$vmeta])* $variant,)*
        }

        impl $name {
            /// All of them, in declaration order: `ALL[r as usize] == r`.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// How many there are: the length of a counter array indexed by `r as usize`.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable dotted code that logs, metrics and documents use.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// One sentence for people.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.code())
            }
        }
    };
}

reasons! {
    /// Why a packet was dropped. None of them touches another flow.
    PacketDrop {
        Truncated = "packet.truncated", "A header claims more bytes than the frame holds.";
        BadIpHeader = "packet.bad_ip_header", "The IP header of a flow that is terminated here is malformed or its checksum is wrong.";
        BadTcpHeader = "packet.bad_tcp_header", "The TCP header of a flow that is terminated here is malformed.";
        BadTcpChecksum = "packet.bad_tcp_checksum", "The TCP checksum of a flow that is terminated here is wrong.";
        SteeringRingFull = "packet.steering_ring_full", "The ring to the worker that owns the flow was full.";
        TxRingFull = "packet.tx_ring_full", "The port took no more frames; TCP sends it again.";
        NoBuffer = "packet.no_buffer", "The buffer pool was empty.";
        RepeatedWhileHeld = "packet.repeated_while_held", "The client repeated bytes that are held already; the first copy counts.";
        HoldFull = "packet.hold_full", "As many frames as may be are held for incomplete ClientHellos; the client repeats it.";
        MemoryFull = "packet.memory_full", "The legs of the worker's flows hold as many bytes as they may; TCP sends it again.";
        BrokenHandshake = "packet.broken_handshake", "A SYN or data that fits no TCP handshake that can be followed.";
        TableFull = "packet.table_full", "A SYN came, and no flow of the full table may give way to it.";
        ClientFlows = "packet.client_flows", "A SYN of a client that has as many flows as one client may have.";
        FragmentMalformed = "packet.fragment_malformed", "A fragment without data, of a length that none may have, or beyond 65535 bytes.";
        FragmentChain = "packet.fragment_chain", "An IPv6 fragment with further extension headers behind the fragment header.";
        FragmentTiny = "packet.fragment_tiny", "The first fragment of an intercepted segment does not hold the whole TCP header.";
        FragmentOverlap = "packet.fragment_overlap", "Fragments of an intercepted segment overlap, or do not agree on its length; all of them are dropped.";
        FragmentRepeated = "packet.fragment_repeated", "A fragment that is held already; the first copy counts.";
        FragmentTooMany = "packet.fragment_too_many", "A segment came in more fragments than are put together.";
        FragmentTimeout = "packet.fragment_timeout", "The other fragments of the segment did not come in time.";
        FragmentEvicted = "packet.fragment_evicted", "As many fragments as may be are held, and this was among the oldest.";
        FragmentTooBig = "packet.fragment_too_big", "Fragments of a SYN or RST with more data than the wire carries in one packet.";
        PolicyBlocked = "packet.policy_blocked", "A SYN, or a frame of no flow, that an L3/L4 rule blocks; TCP is answered by a RST.";
        FlowEnded = "packet.flow_ended", "It belongs to a flow that was blocked or has ended.";
        Midstream = "packet.midstream", "A connection whose beginning was not seen; both its ends are reset (`intercept.midstream`).";
        OneDirection = "packet.one_direction", "Data of a connection of which only one direction was seen (`intercept.midstream`).";
        ClassDropped = "packet.class_dropped", "A frame that is not looked into, of a class that `[passthrough]` drops.";
        ServerHeld = "packet.server_held", "A frame from the server of a connection of which it has not heard yet (`contact = \"hold\"`).";
        Quic = "packet.quic", "UDP to or from an intercepted port (`intercept.quic`).";
        Dtls = "packet.dtls", "DTLS to or from an intercepted port (`intercept.dtls`).";
    }
}

reasons! {
    /// What is odd about the way that a connection takes; the `anomaly.event` of such events.
    PathOddity {
        Asymmetric = "fleet.asymmetric", "Only one direction of the connection comes through this engine: the other one takes another way.";
    }
}

reasons! {
    /// Why a frame was lost at a port, before a worker saw it or after it let go of it. By the driver's count.
    PortDrop {
        RxMissed = "port.rx_missed", "The receive ring was full: the worker is too slow, or was held up.";
        RxNoBuffer = "port.rx_nombuf", "The port found no free buffer to receive into: the pool was empty.";
        RxErrors = "port.rx_errors", "The port received it damaged: a wrong frame check sequence or length; look at the cable.";
        TxErrors = "port.tx_errors", "The port could not send it.";
    }
}

reasons! {
    /// Why a frame did not get to, or came from, the port of a mirror. No flow feels any of them.
    MirrorDrop {
        Overrun = "mirror.dropped", "The mirror's queue was full, and this frame the oldest: the port, or whoever reads behind it, is too slow.";
        FlowLost = "mirror.flow_lost", "It follows a frame that was dropped: its flow has ended with a RST in the mirror.";
        NoBuffer = "mirror.no_buffer", "The mirrors' pool was empty.";
        TooLong = "mirror.too_long", "A frame of a bypassed flow that is longer than the mirror's buffers.";
        Received = "mirror.received", "It came in at the mirror's port, which only sends.";
    }
}

reasons! {
    /// Why something is missing in a capture. No flow feels any of them.
    CaptureDrop {
        Overrun = "capture.dropped", "The writer was too slow: this frame was the oldest that waited.";
        TooLong = "capture.too_long", "A frame that is longer than a capture's buffers.";
        NoteLost = "capture.note_lost", "The writer was too slow: a flow's secrets, or the word that it is over, were lost.";
        NoSecrets = "capture.no_secrets", "A frame of a flow that had more of them than may wait for its secrets.";
        WriteFailed = "capture.write_failed", "A file could not be written: the capture has ended.";
    }
}

reasons! {
    /// What has become of a line of an IDS at a mirror.
    VerdictFate {
        FlowEnded = "verdict.flow", "The flow that it is about was ended.";
        StreamEnded = "verdict.stream", "The stream of HTTP/2 that it is about was ended.";
        TooLate = "verdict.too_late", "The flow or stream that it is about was over.";
        UnknownFlow = "verdict.unknown_flow", "No flow that is in a mirror has these addresses and ports.";
        RingFull = "verdict.ring_full", "As many as may wait for the worker did.";
        NotMeant = "verdict.not_meant", "No alert, or of a rule that `verdicts.block` does not mean.";
        Malformed = "verdict.malformed", "No EVE JSON of TCP between two addresses.";
        LineTooLong = "verdict.line_too_long", "It was longer than is read.";
        PeerRefused = "verdict.peer_refused", "A connection of a user who is neither root nor the engine's, or one too many.";
    }
}

reasons! {
    /// How policy or fate decided a flow; the `reason` of `tls` and `flow` events.
    Reason {
        PolicyDecrypt = "policy.decrypt", "A rule, or the default, says decrypt.";
        PolicyBypass = "policy.bypass", "A rule, or the default, says bypass.";
        PolicyBlock = "policy.block", "A rule, or the default, says block.";
        ExcludedClientCertificate = "excl.client_certificate", "The server is known to ask for a client certificate, and the profile bypasses it.";
        ExcludedUnsupported = "excl.unsupported", "The server is known to speak nothing of what the engine offers for such clients, and the profile bypasses it.";
        ExcludedPinned = "excl.pinned", "Clients of this kind are known to refuse our CA for this server, and the profile bypasses it.";
        ExcludedEch = "excl.ech", "Encrypted ClientHellos (ECH) for this server are known to be real, and the profile bypasses them.";
        ExcludedManual = "excl.manual", "An operator has excluded the server from decryption (`wireglass exclusions add`).";
        OperatorBypass = "operator.bypass", "An operator has all new flows bypassed, whatever policy says (`wireglass bypass --all`).";
        OperatorDrain = "operator.drain", "Policy says decrypt, and an operator has no new flow decrypted (`wireglass drain`).";
        HelloTimeout = "hello.timeout", "The ClientHello was not complete in time.";
        HelloMalformed = "hello.malformed", "The client's first bytes are TLS but no valid ClientHello.";
        HelloTooBig = "hello.too_big", "The ClientHello was longer, or offered more protocols, than is held.";
        HelloNotTls = "hello.not_tls", "The first bytes are not TLS.";
        HelloAmbiguous = "hello.ambiguous", "Overlapping segments with different bytes: two readers could see two ClientHellos.";
        StartTlsStripped = "starttls.stripped", "The server does not offer TLS, or refuses it, and the client goes on in plain (`starttls.on_stripped`).";
        StartTlsUnused = "starttls.unused", "The client goes on in plain without asking for TLS (`starttls.on_unused`).";
        StartTlsGss = "starttls.gss", "Client and server agreed on GSSAPI encryption, which cannot be read (`starttls.on_unused`).";
        StartTlsPipelined = "starttls.pipelined", "Plain bytes behind the command that asks for TLS, or behind its answer: one end would take them for part of the session.";
        StartTlsProtocol = "starttls.protocol", "Before TLS an end said what is not of the port's protocol, or cannot be followed.";
        StartTlsTooLong = "starttls.too_long", "Before TLS a message was too long, or the ends said too much.";
        StartTlsTimeout = "starttls.timeout", "The ends did not agree on TLS in time.";
        StartTlsNoHello = "starttls.no_hello", "The ends agreed on TLS, and something else followed.";
        EchBlocked = "ech.blocked", "The client offers ECH for a server where ECH is known to be real, and the profile blocks that.";
        HelloName = "hello.name", "The client asks for a server name that no certificate could have.";
        VersionUnsupportedClient = "ver.unsupported_client", "The client offers no TLS version that the profile allows.";
        VersionUnsupportedServer = "ver.unsupported_server", "The server speaks no TLS version that the profile allows.";
        CipherNoneClient = "cipher.none_client", "The client offers no cipher suite, group or signature that is supported.";
        CipherNoneServer = "cipher.none_server", "The server accepts no cipher suite or group that the client offered and is supported.";
        CertExpired = "cert.expired", "A certificate of the server's chain has expired.";
        CertNotYet = "cert.not_yet", "A certificate of the server's chain is not yet valid.";
        CertUntrusted = "cert.untrusted", "The server's chain ends at no trusted root.";
        CertIncomplete = "cert.incomplete", "The server has not sent the certificates between its own and a root, and they are not known.";
        CertSelfSigned = "cert.self_signed", "The server's certificate is self-signed.";
        CertNoName = "cert.no_name", "The client asked for no name, and the server's certificate does not name its address.";
        CertMismatch = "cert.mismatch", "The server's certificate does not name the host that the client asked for.";
        CertWeak = "cert.weak", "A key or signature of the server's chain is too weak.";
        CertUsage = "cert.usage", "A certificate of the chain may not be used like this.";
        CertUnsupported = "cert.unsupported", "A certificate of the chain has a key, signature, critical extension or constraint that cannot be judged.";
        CertMalformed = "cert.malformed", "A certificate of the chain cannot be parsed, or contradicts itself.";
        CertTooComplex = "cert.too_complex", "No path to a trusted root was found within the bounds of a verification.";
        CertRevoked = "cert.revoked", "A certificate of the server's chain has been revoked.";
        CertRevocationUnknown = "cert.revocation_unknown", "Nothing that is at hand says whether the server's certificate has been revoked.";
        CertMustStaple = "cert.must_staple", "The server's certificate demands a stapled OCSP response, and no good one came with it.";
        CertNoSct = "cert.no_sct", "Too few logs of Certificate Transparency that are known have promised to publish the server's certificate.";
        CertOwnCa = "cert.own_ca", "The server shows a certificate signed by this engine's own CA.";
        ServerReset = "srv.rst", "The server reset the connection.";
        ServerRefused = "srv.refused", "The server refused the connection that the engine opened for a client whose first contact was held.";
        ServerUnreachable = "srv.unreachable", "The server did not answer the SYN that the engine sent for a client whose first contact was held.";
        ServerAlert = "srv.alert", "The server ended the handshake with a TLS alert.";
        ServerClosed = "srv.closed", "The server closed the connection during the handshake.";
        ServerTimeout = "srv.timeout", "The server stopped answering.";
        ServerProtocol = "srv.protocol", "The server broke the TLS protocol.";
        ServerWantsClientCert = "srv.client_cert_asked", "The server asked for a client certificate, which the profile does not allow.";
        ServerRequiresClientCert = "srv.client_cert_required", "The server insists on a client certificate, which the engine cannot present.";
        ClientReset = "cli.rst", "The client reset the connection.";
        ClientAlert = "cli.alert", "The client ended the handshake with a TLS alert.";
        ClientEch = "tls.ech_required", "The client needs ECH, which hides a name that policy has not seen. Remove `ech` from HTTPS records in your DNS, or set `on_ech`.";
        ClientClosed = "cli.closed", "The client closed the connection during the handshake.";
        ClientTimeout = "cli.timeout", "The client stopped answering.";
        ClientProtocol = "cli.protocol", "The client broke the TLS protocol.";
        MintFailed = "mint.failed", "No certificate could be minted for the client.";
        MintUnanswered = "mint.unanswered", "The signer, which has the CAs' keys, did not answer in time, or is gone.";
        MintRefused = "mint.refused", "The signer, which has the CAs' keys, refused to sign such a certificate.";
        ResourceHandshakes = "res.handshakes", "The handshake queue was full.";
        ResourceFlows = "res.flows", "The flow table was full: this flow gave way to a new one, or its SYN was refused.";
        ResourceClientFlows = "res.client_flows", "The client had as many flows as one client may have: this flow was refused, or gave way.";
        ResourceIdle = "res.idle", "Idle for longer than is allowed while table or memory are nearly full.";
        ResourceMemory = "res.memory", "The memory budget was used up: a new flow was refused, or one that was stuck or silent gave way.";
        ContentBlocked = "content.blocked", "A rule on the plaintext says block.";
        ContentAlerted = "content.alerted", "A rule on the plaintext says alert: it went on.";
        ContentUnparsed = "content.unparsed", "Plaintext that cannot be read, or may be read in two ways (`content.on_unparsed`).";
        ContentOpaque = "content.opaque", "A protocol that is not read: a tunnel, an upgrade, or no HTTP at all (`content.on_opaque`).";
        ContentEncoding = "content.encoding", "A body that cannot be read through its coding, where a rule asks what is in it (`content.on_undecodable`).";
        ContentBomb = "content.bomb", "A body that unfolds into far more than it has, where a rule asks what is in it (`content.on_undecodable`).";
        ContentLate = "content.late", "Something was found in a body of which most had gone on: it was cut off, and the next try for a download is answered with the page.";
        ContentTimeout = "content.timeout", "A body that is to be looked at was with a thread for too long (`content.on_timeout`).";
        ContentOverload = "content.overload", "A body that is to be looked at, while the threads have their hands full, the worker holds as many bytes of bodies as it may, or 256 others of its connection (HTTP/2) are looked at (`content.on_overload`).";
        ContentClientBytes = "content.client_bytes", "A body that is to be looked at, of a client that has its share of the bytes of bodies that the worker may hold (`content.on_overload`).";
        ContentOversize = "content.oversize", "A body that is to be held until it has been looked at, and is larger than is held (`content.on_oversize`).";
        ContentRange = "content.range", "A part of a body that is to be looked at as a whole (`content.on_range`).";
        IcapDown = "icap.down", "There was no connection to an ICAP server that was to be asked about a body, or no answer in time (`content.on_icap`).";
        IcapProtocol = "icap.protocol", "An ICAP server answered with an error, or not as the protocol has it (`content.on_icap`).";
        IcapShort = "icap.short", "An ICAP server gave less of a body back than it was to: it has found something on the way.";
        IcapOversize = "icap.oversize", "A body that is larger than an ICAP server is to be asked about (`max_bytes` of the server, `content.on_oversize`).";
        YaraTimeout = "yara.timeout", "A set of YARA rules took longer for a body than it may (`timeout_ms` of the set, `content.on_timeout`).";
        YaraOversize = "yara.oversize", "A body that is larger than is kept for a set of YARA rules (`max_bytes` of the set, `content.on_oversize`).";
        ContentUndecided = "content.undecided", "A filter did not decide on plaintext of which no more can be held, or will come.";
        VerdictExternal = "verdict.external", "An IDS at a mirror has found something in the plaintext (`[verdicts]`).";
        KeysUsedUp = "tls.keys_used_up", "The keys of a TLS 1.2 connection have protected as many records as they may.";
        Closed = "flow.closed", "Both ends closed in order.";
        Idle = "flow.idle", "Nothing came for the idle time.";
        OperatorKilled = "operator.killed", "An operator has ended the flow (`wireglass flows kill`, `wireglass bypass --all --now`).";
        Shutdown = "engine.shutdown", "The engine was stopped.";
        Internal = "engine.internal", "A fault of the engine; please report it.";
    }
}

reasons! {
    /// What became of a message that a TCP segment of an intercepted port was too big for the path (ICMP "fragmentation needed",
    /// ICMPv6 "packet too big").
    PathMessage {
        Lowered = "too_big.lowered", "The leg sends smaller segments from now on.";
        Known = "too_big.known", "The leg's segments are as small as that already, or as small as they may get.";
        OutOfWindow = "too_big.out_of_window", "The number that it quotes is not one in flight: late, or forged.";
        TooOften = "too_big.too_often", "The leg's size was lowered as often as may be within one flight.";
        WrongSide = "too_big.wrong_side", "It came from the end that is said to have sent the segment.";
        NoLeg = "too_big.no_leg", "Passed on: no flow that is terminated here sent the segment.";
        NotSmaller = "too_big.not_smaller", "Passed on: what it says would fit is not smaller than what it quotes.";
        BelowMinimum = "too_big.below_minimum", "Passed on: less than every IPv6 link carries.";
        Malformed = "too_big.malformed", "Passed on: its checksum is wrong, it quotes too little, or it goes to another host than it quotes.";
    }
}

reasons! {
    /// Why the HTTP reader of a decrypted flow turned itself off. The flow itself goes on untouched.
    InspectorOff {
        NotHttp = "http.not_http", "The first bytes of the plaintext are not HTTP.";
        OtherAlpn = "http.other_alpn", "The application protocol that was negotiated is not HTTP.";
        Opaque = "http.opaque", "The connection became a tunnel: CONNECT, or an upgrade such as WebSocket.";
        HeaderTooBig = "http.header_too_big", "A head was longer than is held: of HTTP/2, or of HTTP/1 where rules are asked.";
        TooManyOpen = "http.too_many_open", "More transactions were open at once than are followed.";
        Memory = "http.memory", "The worker's memory was used up, and the reader held more of it than it may then.";
        H2Frame = "http2.frame", "A frame that breaks the framing rules of HTTP/2.";
        H2Compression = "http2.compression", "A header block that breaks the rules of HPACK.";
        H2TableSize = "http2.table_size", "A header compression table larger than is held.";
    }
}

reasons! {
    /// What the HTTP reader found odd, and read on.
    HttpOddity {
        Ambiguous = "http.ambiguous", "A message that two readers may read in two ways; the `http` event says what about it.";
        Malformed = "http.malformed", "Bytes that are no HTTP/1 message were passed over, up to the next that looks like one.";
    }
}

reasons! {
    /// What two readers of an HTTP/1 message may disagree about: `wireglass.ambiguous` of `http` events. At most 32.
    /// Those from `BareLf` on are only looked for where rules are asked.
    Ambiguity {
        LengthAndCoding = "length_and_coding", "Content-Length and Transfer-Encoding in one message; read by the coding.";
        CodingInHttp10 = "coding_in_http10", "Transfer-Encoding in HTTP/1.0; heeded.";
        CodingRepeated = "coding_repeated", "Transfer-Encoding, or chunked in it, more than once; the last one counts.";
        CodingNotChunked = "coding_not_chunked", "Transfer-Encoding that does not end in chunked; a request is read by Content-Length, a response to the end.";
        LengthsDiffer = "lengths_differ", "Different Content-Lengths; the first one counts.";
        LengthInvalid = "length_invalid", "A Content-Length that is no number; it counts as far as it is one.";
        Folded = "folded", "A framing field, or Host, that goes on in the next line; it is put together. Where rules are asked: any field of a request.";
        SpaceInName = "space_in_name", "A space before the colon of a framing field or Host; it is heeded.";
        LongField = "long_field", "A framing field, or Host, longer than is looked at.";
        HostRepeated = "host_repeated", "Host more than once; the first one counts.";
        BareCr = "bare_cr", "A CR in a head that ends no line.";
        ResponseWithoutRequest = "response_without_request", "A response that nobody asked for, other than 408.";
        FieldsMalformed = "fields_malformed", "HTTP/2, rules only: fields or content that break RFC 9113, 8.1 to 8.3: pseudo-fields, names, Content-Length.";
        UpgradeUnasked = "upgrade_unasked", "101 to a request that asked for no upgrade; read on as HTTP.";
        BareLf = "bare_lf", "Rules only: an LF without CR that ends a line of a request's head, or of its chunks.";
        Nul = "nul", "Rules only: a NUL in a head.";
        RequestLine = "request_line", "Rules only: a request line that is not method, target in one of its forms, and HTTP/1.0 or HTTP/1.1, with one space between them.";
        FieldName = "field_name", "Rules only: a line of a request's head without a colon, or with a field name that is no token.";
        HostInvalid = "host_invalid", "Rules only: a Host that names no host.";
        HostMissing = "host_missing", "Rules only: HTTP/1.1 without Host.";
        HostDiffers = "host_differs", "Rules only: a target with another host than Host; the target counts.";
        Fronting = "fronting", "Rules only: a host that is not the one that the TLS handshake named (SNI).";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_index_their_own_place() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        codes.extend(PacketDrop::ALL.iter().map(|r| r.code()));
        codes.extend(PortDrop::ALL.iter().map(|r| r.code()));
        codes.extend(PathMessage::ALL.iter().map(|r| r.code()));
        codes.extend(MirrorDrop::ALL.iter().map(|r| r.code()));
        codes.extend(CaptureDrop::ALL.iter().map(|r| r.code()));
        codes.extend(VerdictFate::ALL.iter().map(|r| r.code()));
        codes.extend(InspectorOff::ALL.iter().map(|r| r.code()));
        codes.extend(HttpOddity::ALL.iter().map(|r| r.code()));
        codes.extend(PathOddity::ALL.iter().map(|r| r.code()));
        codes.extend(Ambiguity::ALL.iter().map(|r| r.code()));
        const { assert!(Ambiguity::COUNT <= 32, "a set of them has 32 bits") };
        let n = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), n);
        for (i, r) in Reason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
        }
    }
}
