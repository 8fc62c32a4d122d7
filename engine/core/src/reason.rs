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
        BadIpHeader = "packet.bad_ip_header", "The IP header of a flow that the engine terminates is malformed, or its checksum is wrong.";
        BadTcpHeader = "packet.bad_tcp_header", "The TCP header of a flow that the engine terminates is malformed.";
        BadTcpChecksum = "packet.bad_tcp_checksum", "The TCP checksum of a flow that the engine terminates is wrong.";
        SteeringRingFull = "packet.steering_ring_full", "The ring to the worker that owns the flow was full.";
        TxRingFull = "packet.tx_ring_full", "The port took no more frames; TCP sends it again.";
        NoBuffer = "packet.no_buffer", "The buffer pool was empty.";
        RepeatedWhileHeld = "packet.repeated_while_held", "The client repeated bytes that the engine already holds; the first copy counts.";
        HoldFull = "packet.hold_full", "Too many frames are held for incomplete ClientHellos; the client sends this one again.";
        MemoryFull = "packet.memory_full", "The worker's flows use all of their memory; TCP sends the segment again.";
        BrokenHandshake = "packet.broken_handshake", "A SYN or data that does not fit a TCP handshake that the engine can follow.";
        TableFull = "packet.table_full", "A SYN came, the flow table is full, and no flow in it may give way.";
        ClientFlows = "packet.client_flows", "A SYN of a client that already has as many flows as one client may have.";
        FragmentMalformed = "packet.fragment_malformed", "A fragment without data, of an invalid length, or beyond 65535 bytes.";
        FragmentChain = "packet.fragment_chain", "An IPv6 fragment with further extension headers after the fragment header.";
        FragmentTiny = "packet.fragment_tiny", "The first fragment of an intercepted segment does not hold the whole TCP header.";
        FragmentOverlap = "packet.fragment_overlap", "Fragments of an intercepted segment overlap or disagree on its length; all of them are dropped.";
        FragmentRepeated = "packet.fragment_repeated", "A fragment that the engine already holds; the first copy counts.";
        FragmentTooMany = "packet.fragment_too_many", "A segment came in more fragments than the engine reassembles.";
        FragmentTimeout = "packet.fragment_timeout", "The other fragments of the segment did not come in time.";
        FragmentEvicted = "packet.fragment_evicted", "Too many fragments are held, and this was among the oldest.";
        FragmentTooBig = "packet.fragment_too_big", "Fragments of a SYN or RST with more data than the wire carries in one packet.";
        PolicyBlocked = "packet.policy_blocked", "An L3/L4 rule blocks this SYN, or this frame without a flow; TCP gets a RST.";
        FlowEnded = "packet.flow_ended", "The frame belongs to a flow that was blocked or has ended.";
        Midstream = "packet.midstream", "The engine did not see the beginning of the connection; both ends are reset (`intercept.midstream`).";
        OneDirection = "packet.one_direction", "Data of a connection of which the engine sees only one direction (`intercept.midstream`).";
        ClassDropped = "packet.class_dropped", "An uninspected frame, of a class that `[passthrough]` drops.";
        ServerHeld = "packet.server_held", "A frame from a server that the engine has not contacted yet for this connection (`contact = \"hold\"`).";
        Quic = "packet.quic", "UDP to or from an intercepted port (`intercept.quic`).";
        Dtls = "packet.dtls", "DTLS to or from an intercepted port (`intercept.dtls`).";
    }
}

reasons! {
    /// What is odd about a connection's path; the `anomaly.event` of such events.
    PathOddity {
        Asymmetric = "fleet.asymmetric", "Only one direction of the connection passes this engine; the other takes another path.";
    }
}

reasons! {
    /// Why a frame was lost at a port, before a worker saw it or after it let go of it. By the driver's count.
    PortDrop {
        RxMissed = "port.rx_missed", "The receive ring was full: the worker is too slow, or was held up.";
        RxNoBuffer = "port.rx_nombuf", "The port had no free buffer to receive into: the pool was empty.";
        RxErrors = "port.rx_errors", "The port received a damaged frame: wrong frame check sequence or length. Check the cable.";
        TxErrors = "port.tx_errors", "The port could not send it.";
    }
}

reasons! {
    /// Why a frame did not get to, or came from, the port of a mirror. No flow is affected by any of them.
    MirrorDrop {
        Overrun = "mirror.dropped", "The mirror's queue was full, and this frame the oldest: the port or its reader is too slow.";
        FlowLost = "mirror.flow_lost", "A frame after a dropped one: its flow has ended with a RST in the mirror.";
        NoBuffer = "mirror.no_buffer", "The mirrors' pool was empty.";
        TooLong = "mirror.too_long", "A frame of a bypassed flow that is longer than the mirror's buffers.";
        Received = "mirror.received", "A frame arrived at the mirror's port, which only sends.";
    }
}

reasons! {
    /// Why something is missing in a capture. No flow is affected by any of them.
    CaptureDrop {
        Overrun = "capture.dropped", "The writer was too slow: this frame had waited longest.";
        TooLong = "capture.too_long", "A frame that is longer than a capture's buffers.";
        NoteLost = "capture.note_lost", "The writer was too slow: a flow's secrets, or the note that it has ended, were lost.";
        NoSecrets = "capture.no_secrets", "Too many frames of one flow waited for its secrets.";
        WriteFailed = "capture.write_failed", "A file could not be written: the capture has ended.";
    }
}

reasons! {
    /// What happened to a line of an IDS at a mirror.
    VerdictFate {
        FlowEnded = "verdict.flow", "The verdict ended its flow.";
        StreamEnded = "verdict.stream", "The verdict ended its HTTP/2 stream.";
        TooLate = "verdict.too_late", "The verdict's flow or stream was already over.";
        UnknownFlow = "verdict.unknown_flow", "No mirrored flow has these addresses and ports.";
        RingFull = "verdict.ring_full", "Too many verdicts waited for the worker.";
        NotMeant = "verdict.not_meant", "Not an alert, or not of a rule that `verdicts.block` names.";
        Malformed = "verdict.malformed", "Not EVE JSON about TCP between two addresses.";
        LineTooLong = "verdict.line_too_long", "The line was too long.";
        PeerRefused = "verdict.peer_refused", "The user is neither root nor the engine's, or there are too many connections.";
    }
}

reasons! {
    /// What decided or ended a flow; the `reason` of `tls` and `flow` events.
    Reason {
        PolicyDecrypt = "policy.decrypt", "A rule, or the default, says decrypt.";
        PolicyBypass = "policy.bypass", "A rule, or the default, says bypass.";
        PolicyBlock = "policy.block", "A rule, or the default, says block.";
        ExcludedClientCertificate = "excl.client_certificate", "The server is known to ask for a client certificate, and the profile bypasses it.";
        ExcludedUnsupported = "excl.unsupported", "The server is known to support nothing that the engine offers for such clients, and the profile bypasses it.";
        ExcludedPinned = "excl.pinned", "Clients of this kind are known to refuse our CA for this server, and the profile bypasses it.";
        ExcludedEch = "excl.ech", "Encrypted ClientHellos (ECH) for this server are known to be real, and the profile bypasses them.";
        ExcludedManual = "excl.manual", "An operator has excluded the server from decryption (`wireglass exclusions add`).";
        OperatorBypass = "operator.bypass", "An operator's order bypasses all new flows, whatever policy says (`wireglass bypass --all`).";
        OperatorDrain = "operator.drain", "Policy says decrypt, but an operator's order lets no new flow be decrypted (`wireglass drain`).";
        HelloTimeout = "hello.timeout", "The ClientHello was not complete in time.";
        HelloMalformed = "hello.malformed", "The client's first bytes are TLS, but not a valid ClientHello.";
        HelloTooBig = "hello.too_big", "The ClientHello was too long, or offered too many protocols.";
        HelloNotTls = "hello.not_tls", "The first bytes are not TLS.";
        HelloAmbiguous = "hello.ambiguous", "Overlapping segments with different bytes, or a second ClientHello with another name: two readers could see two names.";
        StartTlsStripped = "starttls.stripped", "The server does not offer TLS, or refuses it, and the client goes on in plain text (`starttls.on_stripped`).";
        StartTlsUnused = "starttls.unused", "The client goes on in plain text without asking for TLS (`starttls.on_unused`).";
        StartTlsGss = "starttls.gss", "Client and server agreed on GSSAPI encryption, which cannot be read (`starttls.on_unused`).";
        StartTlsPipelined = "starttls.pipelined", "Plain bytes after the command that asks for TLS, or after its answer: one end would take them for part of the session.";
        StartTlsProtocol = "starttls.protocol", "Before TLS an end sent something that is not the port's protocol, or that the engine cannot follow.";
        StartTlsTooLong = "starttls.too_long", "Before TLS a message was too long, or the ends sent too much.";
        StartTlsTimeout = "starttls.timeout", "The ends did not agree on TLS in time.";
        StartTlsNoHello = "starttls.no_hello", "The ends agreed on TLS, and something else followed.";
        EchBlocked = "ech.blocked", "The client offers ECH for a server where ECH is known to be real, and the profile blocks that.";
        HelloName = "hello.name", "The client asks for a server name that no certificate could have.";
        VersionUnsupportedClient = "ver.unsupported_client", "The client offers no TLS version that the profile allows.";
        VersionUnsupportedServer = "ver.unsupported_server", "The server speaks no TLS version that the profile allows.";
        CipherNoneClient = "cipher.none_client", "The client offers no supported cipher suite, group or signature.";
        CipherNoneServer = "cipher.none_server", "The server accepts no cipher suite or group that the client offers and the engine supports.";
        CertExpired = "cert.expired", "A certificate of the server's chain has expired.";
        CertNotYet = "cert.not_yet", "A certificate of the server's chain is not yet valid.";
        CertUntrusted = "cert.untrusted", "The server's chain ends at no trusted root.";
        CertIncomplete = "cert.incomplete", "The server did not send its intermediate certificates, and the engine does not know them.";
        CertSelfSigned = "cert.self_signed", "The server's certificate is self-signed.";
        CertNoName = "cert.no_name", "The client asked for no name, and the server's certificate does not name its address.";
        CertMismatch = "cert.mismatch", "The server's certificate does not name the host that the client asked for.";
        CertWeak = "cert.weak", "A key or signature of the server's chain is too weak.";
        CertUsage = "cert.usage", "A certificate of the chain may not be used for this.";
        CertUnsupported = "cert.unsupported", "A certificate of the chain has a key, signature, critical extension or constraint that the engine cannot judge.";
        CertMalformed = "cert.malformed", "A certificate of the chain cannot be parsed, or contradicts itself.";
        CertTooComplex = "cert.too_complex", "Verification reached its bounds before it found a path to a trusted root.";
        CertRevoked = "cert.revoked", "A certificate of the server's chain has been revoked.";
        CertRevocationUnknown = "cert.revocation_unknown", "The engine has no statement on whether the server's certificate has been revoked.";
        CertMustStaple = "cert.must_staple", "The server's certificate demands a stapled OCSP response, and no good one came with it.";
        CertNoSct = "cert.no_sct", "Too few known Certificate Transparency logs have promised to publish the server's certificate.";
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
        MintUnanswered = "mint.unanswered", "The signer, which has the CAs' keys, did not answer in time, or is not running.";
        MintRefused = "mint.refused", "The signer, which has the CAs' keys, refused to sign this certificate.";
        ResourceHandshakes = "res.handshakes", "The handshake queue was full.";
        ResourceFlows = "res.flows", "The flow table was full: this flow gave way to a new one, or its SYN was refused.";
        ResourceClientFlows = "res.client_flows", "The client had as many flows as one client may have: this flow was refused, or gave way.";
        ResourceIdle = "res.idle", "The flow was idle for longer than allowed while table or memory are nearly full.";
        ResourceMemory = "res.memory", "The memory budget was used up: a new flow was refused, or a stuck or silent one gave way.";
        ContentBlocked = "content.blocked", "A rule on the plaintext says block.";
        ContentAlerted = "content.alerted", "A rule on the plaintext says alert: it went on.";
        ContentUnparsed = "content.unparsed", "The engine cannot read the plaintext, or it can be read in two ways (`content.on_unparsed`).";
        ContentOpaque = "content.opaque", "The engine does not read this protocol: a tunnel, an upgrade, or not HTTP at all (`content.on_opaque`).";
        ContentEncoding = "content.encoding", "A rule asks for a body's content, and the engine cannot decode it (`content.on_undecodable`).";
        ContentBomb = "content.bomb", "A rule asks for a body's content, and it decompresses to far more than its size (`content.on_undecodable`).";
        ContentLate = "content.late", "Something was found in a body after most of it had gone on. The rest was cut off; the next try for a download gets the page.";
        ContentTimeout = "content.timeout", "The inspection of a body took too long (`content.on_timeout`).";
        ContentOverload = "content.overload", "A body needs inspection, but the threads' queue is full, the worker holds too many bytes of bodies, or 256 messages of this HTTP/2 connection are being inspected (`content.on_overload`).";
        ContentClientBytes = "content.client_bytes", "A body needs inspection, but its client has used up its share of held bodies (`content.on_overload`).";
        ContentOversize = "content.oversize", "A body has to be held until it is inspected, and is too large to hold (`content.on_oversize`).";
        ContentRange = "content.range", "A rule has to inspect the whole body, and this is a part of it (`content.on_range`).";
        IcapDown = "icap.down", "An ICAP server could not be reached, or did not answer in time (`content.on_icap`).";
        IcapProtocol = "icap.protocol", "An ICAP server answered with an error, or broke the protocol (`content.on_icap`).";
        IcapShort = "icap.short", "An ICAP server returned less of a body than announced: it found something on the way.";
        IcapOversize = "icap.oversize", "A body is too large for an ICAP server (`max_bytes` of the server, `content.on_oversize`).";
        YaraTimeout = "yara.timeout", "A set of YARA rules took too long for a body (`timeout_ms` of the set, `content.on_timeout`).";
        YaraOversize = "yara.oversize", "A body is too large for a set of YARA rules (`max_bytes` of the set, `content.on_oversize`).";
        ContentUndecided = "content.undecided", "A filter did not decide, and no more plaintext can be held or will come.";
        VerdictExternal = "verdict.external", "An IDS at a mirror has found something in the plaintext (`[verdicts]`).";
        KeysUsedUp = "tls.keys_used_up", "The keys of a TLS 1.2 connection may protect no more records.";
        Closed = "flow.closed", "Both ends closed in order.";
        Idle = "flow.idle", "Nothing came for `limits.idle_seconds`.";
        OperatorKilled = "operator.killed", "An operator has ended the flow (`wireglass flows kill`, `wireglass bypass --all --now`).";
        Shutdown = "engine.shutdown", "The engine was stopped.";
        Internal = "engine.internal", "A bug of the engine; please report it.";
    }
}

reasons! {
    /// What happened to a message that a TCP segment of an intercepted port was too big for the path (ICMP "fragmentation needed",
    /// ICMPv6 "packet too big").
    PathMessage {
        Lowered = "too_big.lowered", "The leg sends smaller segments from now on.";
        Known = "too_big.known", "The leg's segments are already that small, or as small as they may get.";
        OutOfWindow = "too_big.out_of_window", "The sequence number that it quotes is not in flight: late, or forged.";
        TooOften = "too_big.too_often", "The leg's segment size was already lowered as often as allowed within one flight.";
        WrongSide = "too_big.wrong_side", "It came from the end that it names as the sender of the segment.";
        NoLeg = "too_big.no_leg", "Passed on: no flow that the engine terminates sent the segment.";
        NotSmaller = "too_big.not_smaller", "Passed on: the size that it demands is not smaller than the quoted segment.";
        BelowMinimum = "too_big.below_minimum", "Passed on: it demands less than every IPv6 link carries.";
        Malformed = "too_big.malformed", "Passed on: its checksum is wrong, it quotes too little, or it goes to another host than it quotes.";
    }
}

reasons! {
    /// Why the HTTP reader of a decrypted flow turned itself off. The flow itself goes on untouched.
    InspectorOff {
        NotHttp = "http.not_http", "The first bytes of the plaintext are not HTTP.";
        OtherAlpn = "http.other_alpn", "The negotiated application protocol is not HTTP.";
        Opaque = "http.opaque", "The connection became a tunnel: CONNECT, or an upgrade such as WebSocket.";
        HeaderTooBig = "http.header_too_big", "A head was too long: of HTTP/2, or of HTTP/1 if rules apply.";
        TooManyOpen = "http.too_many_open", "Too many transactions were open at once.";
        Memory = "http.memory", "The worker's memory was nearly used up, and the reader held too much of it.";
        H2Frame = "http2.frame", "A frame that breaks the framing rules of HTTP/2.";
        H2Compression = "http2.compression", "A header block that breaks the rules of HPACK.";
        H2TableSize = "http2.table_size", "A header compression table was too large.";
    }
}

reasons! {
    /// What the HTTP reader found odd, and read on.
    HttpOddity {
        Ambiguous = "http.ambiguous", "Two readers may read the message in two ways; the `http` event says why.";
        Malformed = "http.malformed", "The reader skipped bytes that are not an HTTP/1 message, up to the next that looks like one.";
    }
}

reasons! {
    /// What two readers of an HTTP/1 message may disagree about: `wireglass.ambiguous` of `http` events. At most 32.
    /// Those from `BareLf` on are only looked for where rules are asked.
    Ambiguity {
        LengthAndCoding = "length_and_coding", "Content-Length and Transfer-Encoding in one message; read by the coding.";
        CodingInHttp10 = "coding_in_http10", "Transfer-Encoding in HTTP/1.0; it counts.";
        CodingRepeated = "coding_repeated", "Transfer-Encoding, or chunked in it, more than once, or an empty item in it; the last one counts.";
        CodingNotChunked = "coding_not_chunked", "Transfer-Encoding that does not end in chunked; a request is read by Content-Length, a response to the end.";
        LengthsDiffer = "lengths_differ", "Different Content-Lengths; the first one counts.";
        LengthInvalid = "length_invalid", "A Content-Length that is not a number, or a list with an empty item; its leading digits count.";
        Folded = "folded", "A framing field, or Host, continued on the next line; the lines are joined. If rules apply: any field of a request.";
        SpaceInName = "space_in_name", "A space before the colon of a framing field or Host; the field counts.";
        LongField = "long_field", "A framing field, or Host, that is too long to read.";
        HostRepeated = "host_repeated", "Host more than once; the first one counts.";
        BareCr = "bare_cr", "A CR in a head that does not end a line.";
        ResponseWithoutRequest = "response_without_request", "A response that nobody asked for, other than 408.";
        FieldsMalformed = "fields_malformed", "HTTP/2, rules only: fields or content that break RFC 9113, 8.1 to 8.3: pseudo-fields, names, Content-Length.";
        UpgradeUnasked = "upgrade_unasked", "101 to a request that did not ask for an upgrade; the reader goes on as HTTP.";
        BareLf = "bare_lf", "Rules only: an LF without CR that ends a line of a request's head, or of its chunks.";
        Nul = "nul", "Rules only: a NUL in a head.";
        RequestLine = "request_line", "Rules only: a request line that is not method, target in one of its forms, and HTTP/1.0 or HTTP/1.1, with one space between them; a fragment (#) in the target.";
        FieldName = "field_name", "Rules only: a line of a request's head without a colon, or with a field name that is not a token.";
        HostInvalid = "host_invalid", "Rules only: a Host, or a target with a host, that does not name one.";
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
