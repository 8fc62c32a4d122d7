use super::*;

/// One thing that is said, and how it goes on.
type Line<'a> = (bool, &'a [u8], Progress);

const CLIENT: bool = true;
const SERVER: bool = false;

/// A dialogue with these results, the same when the bytes come one by one.
#[track_caller]
fn run(protocol: Protocol, lines: &[Line<'_>]) {
    let mut whole = Dialogue::new(protocol);
    let mut bytewise = Dialogue::new(protocol);
    for (from_client, bytes, expected) in lines {
        let say = |dialogue: &mut Dialogue, bytes: &[u8]| match from_client {
            true => dialogue.client(bytes),
            false => dialogue.server(bytes),
        };
        let name = String::from_utf8_lossy(bytes);
        assert_eq!(say(&mut whole, bytes), *expected, "{name:?}");
        let (mut waiting, mut last, mut passed) = (Vec::new(), Progress::Pass(0), 0);
        for byte in *bytes {
            waiting.push(*byte);
            last = say(&mut bytewise, &waiting);
            match last {
                Progress::Pass(n) => {
                    waiting.drain(..n);
                    passed += n;
                }
                Progress::Agreed(n) => {
                    passed += n;
                    last = Progress::Agreed(passed);
                }
                _ => break,
            }
        }
        if let Progress::Pass(_) = last {
            last = Progress::Pass(passed);
        }
        // What is pipelined behind an agreement is known when it comes, which is later now.
        if *expected != Progress::Broken(Reason::StartTlsPipelined) {
            assert_eq!(last, *expected, "byte by byte: {name:?}");
        }
    }
}

fn pass(from: bool, bytes: &[u8]) -> Line<'_> {
    (from, bytes, Progress::Pass(bytes.len()))
}

fn agreed(bytes: &[u8]) -> Line<'_> {
    (SERVER, bytes, Progress::Agreed(bytes.len()))
}

const PIPELINED: Progress = Progress::Broken(Reason::StartTlsPipelined);
const PROTOCOL: Progress = Progress::Broken(Reason::StartTlsProtocol);
const STRIPPED: Progress = Progress::Plain(Reason::StartTlsStripped);
const UNUSED: Progress = Progress::Plain(Reason::StartTlsUnused);

const GREETING: &[u8] = b"220-mail.example\r\n220 ESMTP\r\n";
const OFFER: &[u8] = b"250-mail.example\r\n250-STARTTLS\r\n250 8BITMIME\r\n";

#[test]
fn smtp() {
    use Protocol::Smtp;
    let begin = [pass(SERVER, GREETING), pass(CLIENT, b"EHLO me\r\n"), pass(SERVER, OFFER)];
    let with = |more: &[Line<'_>]| run(Smtp, &[&begin, more].concat());
    with(&[pass(CLIENT, b"starttls\r\n"), agreed(b"220 go ahead\r\n")]);
    with(&[pass(CLIENT, b"NOOP\r\nSTARTTLS\r\n"), pass(SERVER, b"250 ok\r\n"), agreed(b"220 go\r\n")]);
    with(&[(CLIENT, b"STARTTLS\r\nMAIL FROM:<a@b>\r\n", PIPELINED)]);
    with(&[pass(CLIENT, b"STARTTLS\r\n"), (CLIENT, b"E", PIPELINED)]);
    with(&[pass(CLIENT, b"STARTTLS\r\n"), (SERVER, b"220 go\r\n250 injected\r\n", PIPELINED)]);
    with(&[(CLIENT, b"MAIL FROM:<a@b>\r\n", UNUSED)]);
    with(&[
        pass(CLIENT, b"STARTTLS\r\n"),
        pass(SERVER, b"454 not now\r\n"),
        (CLIENT, b"AUTH PLAIN x\r\n", STRIPPED),
    ]);
    // The offer was cut out, or blotted out.
    for offer in [&b"250 mail.example\r\n"[..], b"250-mail.example\r\n250-XXXXXXXX\r\n250 8BITMIME\r\n"] {
        run(Smtp, &[begin[0], begin[1], pass(SERVER, offer), (CLIENT, b"MAIL FROM:<a@b>\r\n", STRIPPED)]);
    }
    run(Smtp, &[(SERVER, b"SSH-2.0-OpenSSH\r\n", PROTOCOL)]);
    run(Smtp, &[pass(SERVER, b"220 hi\r\n"), (SERVER, b"250 unasked\r\n", PROTOCOL)]);
    run(Smtp, &[pass(SERVER, b"220 hi\r\n"), pass(SERVER, b"421 too slow\r\n")]);
    // In a continuation line it is no agreement yet; in another command's answer it is none at all.
    with(&[pass(CLIENT, b"STARTTLS\r\n"), pass(SERVER, b"220-well\r\n"), agreed(b"220 go\r\n")]);
    with(&[pass(CLIENT, b"NOOP\r\n"), pass(SERVER, b"220 go\r\n")]);
    // A ClientHello of a client that does not wait for the greeting.
    run(Smtp, &[(CLIENT, b"\x16", Progress::Tls)]);
}

#[test]
fn imap() {
    use Protocol::Imap;
    let begin = [
        pass(SERVER, b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n"),
        pass(CLIENT, b"a1 CAPABILITY\r\n"),
        pass(SERVER, b"* CAPABILITY IMAP4rev1 STARTTLS\r\na1 OK done\r\n"),
    ];
    let with = |more: &[Line<'_>]| run(Imap, &[&begin, more].concat());
    with(&[pass(CLIENT, b"a2 StartTLS\r\n"), agreed(b"a2 OK begin\r\n")]);
    with(&[(CLIENT, b"a2[STARTTLS\r\n", UNUSED)]);
    with(&[pass(CLIENT, b"a2 STARTTLS\r\n"), pass(SERVER, b"a1 OK\r\n* OK a2 OK\r\n"), agreed(b"a2 ok\r\n")]);
    with(&[(CLIENT, b"a2 STARTTLS\r\na3 LOGIN a b\r\n", PIPELINED)]);
    with(&[pass(CLIENT, b"a2 STARTTLS\r\n"), (SERVER, b"a2 OK\r\n* CAPABILITY AUTH=PLAIN\r\n", PIPELINED)]);
    with(&[
        pass(CLIENT, b"a2 STARTTLS\r\n"),
        pass(SERVER, b"a2 NO\r\n"),
        (CLIENT, b"a3 LOGIN a b\r\n", STRIPPED),
    ]);
    with(&[(CLIENT, b"a2 LOGIN a b\r\n", UNUSED)]);
    with(&[(CLIENT, b"a2 ID {5}\r\n", PROTOCOL)]);
    run(Imap, &[pass(SERVER, b"* OK ready\r\n"), (CLIENT, b"a1 AUTHENTICATE PLAIN\r\n", STRIPPED)]);
    run(Imap, &[(SERVER, b"* PREAUTH welcome\r\n", STRIPPED)]);
    run(Imap, &[(SERVER, b"+OK pop\r\n", PROTOCOL)]);
}

#[test]
fn pop3() {
    use Protocol::Pop3;
    let begin = [
        pass(SERVER, b"+OK ready\r\n"),
        pass(CLIENT, b"CAPA\r\n"),
        pass(SERVER, b"+OK\r\nUSER\r\nSTLS\r\n.\r\n"),
    ];
    let with = |more: &[Line<'_>]| run(Pop3, &[&begin, more].concat());
    with(&[pass(CLIENT, b"STLS\r\n"), agreed(b"+OK begin\r\n")]);
    with(&[(CLIENT, b"STLS\r\nUSER a\r\n", PIPELINED)]);
    with(&[pass(CLIENT, b"STLS\r\n"), (SERVER, b"+OK\r\n+OK injected\r\n", PIPELINED)]);
    with(&[pass(CLIENT, b"STLS\r\n"), pass(SERVER, b"-ERR no\r\n"), (CLIENT, b"USER a\r\n", STRIPPED)]);
    with(&[(CLIENT, b"USER a\r\n", UNUSED)]);
    run(Pop3, &[pass(SERVER, b"+OK ready\r\n"), (CLIENT, b"APOP a b\r\n", STRIPPED)]);
}

#[test]
fn postgres() {
    use Protocol::Postgres;
    let ssl = [0, 0, 0, 8, 4, 210, 22, 47];
    let gss = [0, 0, 0, 8, 4, 210, 22, 48];
    let startup = b"\0\0\0\x10\0\x03\0\0user\0a\0\0";
    run(Postgres, &[pass(CLIENT, &ssl), agreed(b"S")]);
    run(Postgres, &[pass(CLIENT, &gss), pass(SERVER, b"N"), pass(CLIENT, &ssl), agreed(b"S")]);
    run(Postgres, &[pass(CLIENT, &gss), (SERVER, b"G", Progress::Plain(Reason::StartTlsGss))]);
    run(Postgres, &[pass(CLIENT, &ssl), pass(SERVER, b"N"), (CLIENT, startup, STRIPPED)]);
    run(Postgres, &[(CLIENT, startup, UNUSED)]);
    run(Postgres, &[(CLIENT, &[&ssl[..], startup].concat(), PIPELINED)]);
    run(Postgres, &[pass(CLIENT, &ssl), (CLIENT, &startup[..3], PIPELINED)]);
    run(Postgres, &[pass(CLIENT, &gss), (CLIENT, &startup[..3], PIPELINED)]);
    run(Postgres, &[pass(CLIENT, &ssl), (SERVER, b"SZ", PIPELINED)]);
    run(Postgres, &[pass(CLIENT, &gss), (SERVER, b"GZ", PIPELINED)]);
    run(Postgres, &[pass(CLIENT, &ssl), (SERVER, b"X", PROTOCOL)]);
    run(Postgres, &[(SERVER, b"S", PROTOCOL)]);
    run(
        Postgres,
        &[pass(CLIENT, b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02"), (CLIENT, &ssl, PROTOCOL)],
    );
    run(Postgres, &[(CLIENT, b"\x16", Progress::Tls)]);
    run(Postgres, &[(CLIENT, b"\0\0\0\x07", PROTOCOL)]);
    run(Postgres, &[(CLIENT, b"\x7f\0\0\0", Progress::Broken(Reason::StartTlsTooLong))]);
}

/// An LDAP message with this ID, operation and content.
fn ldap_message(id: u8, tag: u8, content: &[u8]) -> Vec<u8> {
    let operation = [&[tag, content.len() as u8], content].concat();
    [&[SEQUENCE, operation.len() as u8 + 3, 2, 1, id][..], &operation].concat()
}

const SEQUENCE: u8 = 0x30;

#[test]
fn ldap() {
    use Protocol::Ldap;
    let oid = b"1.3.6.1.4.1.1466.20037";
    let start = ldap_message(1, 0x77, &[&[0x80, 22], &oid[..]].concat());
    let yes = ldap_message(1, 0x78, b"\x0a\x01\x00\x04\x00\x04\x00");
    let no = ldap_message(1, 0x78, b"\x0a\x01\x34\x04\x00\x04\x00");
    let bind = ldap_message(2, 0x60, b"\x02\x01\x03\x04\x00\x80\x00");
    let root = ldap_message(7, 0x63, b"\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00");
    let search = ldap_message(7, 0x63, b"\x04\x04dc=x\x0a\x01\x00");
    run(Ldap, &[pass(CLIENT, &start), agreed(&yes)]);
    run(
        Ldap,
        &[
            pass(CLIENT, &root),
            pass(SERVER, &ldap_message(7, 0x65, b"\x0a\x01\x00")),
            pass(CLIENT, &start),
            agreed(&yes),
        ],
    );
    run(Ldap, &[pass(CLIENT, &start), pass(SERVER, &no), (CLIENT, &bind, STRIPPED)]);
    run(Ldap, &[(CLIENT, &bind, UNUSED)]);
    run(Ldap, &[(CLIENT, &search, UNUSED)]);
    run(Ldap, &[(CLIENT, &[&start[..], &bind].concat(), PIPELINED)]);
    run(Ldap, &[pass(CLIENT, &start), (SERVER, &[&yes[..], &yes].concat(), PIPELINED)]);
    // Another one's answer is none.
    run(Ldap, &[pass(CLIENT, &start), pass(SERVER, &ldap_message(2, 0x78, b"\x0a\x01\x00")), agreed(&yes)]);
    for broken in [&b"GET / "[..], b"\x30\x80", b"\x30\x85", b"\x30\x03\x04\x01a", b"\x30\x00"] {
        run(Ldap, &[(CLIENT, broken, PROTOCOL)]);
    }
    run(
        Ldap,
        &[(
            CLIENT,
            &[&[0x30, 0x82, 0xff, 0xff][..], &[0; MAX_MESSAGE]].concat(),
            Progress::Broken(Reason::StartTlsTooLong),
        )],
    );
}

#[test]
fn what_is_said_before_is_bounded() {
    let long = vec![b'a'; MAX_MESSAGE];
    for protocol in [Protocol::Smtp, Protocol::Imap, Protocol::Pop3] {
        assert_eq!(Dialogue::new(protocol).client(&long), Progress::Broken(Reason::StartTlsTooLong));
        assert_eq!(Dialogue::new(protocol).server(&long), Progress::Broken(Reason::StartTlsTooLong));
    }
    let mut dialogue = Dialogue::new(Protocol::Smtp);
    let ends = (0..MAX_DIALOGUE).find_map(|_| match dialogue.client(b"NOOP\r\n") {
        Progress::Pass(6) => match dialogue.server(b"250 ok\r\n") {
            Progress::Pass(8) => None,
            other => Some(other),
        },
        other => Some(other),
    });
    assert_eq!(ends, Some(Progress::Broken(Reason::StartTlsTooLong)));
    let mut dialogue = Dialogue::new(Protocol::Pop3);
    let ends =
        (0..100).find_map(|_| Some(dialogue.client(b"NOOP\r\n")).filter(|end| *end != Progress::Pass(6)));
    assert_eq!(ends, Some(PROTOCOL), "commands that wait for answers");
}

proptest::proptest! {
    /// Whatever they say, no more passes than there is, and nothing behind an agreement.
    #[test]
    fn nothing_that_a_peer_says_does_harm(
        which in 0..Protocol::ALL.len(),
        said in proptest::collection::vec((proptest::prelude::any::<bool>(), proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)), 0..20),
    ) {
        let mut dialogue = Dialogue::new(Protocol::ALL[which]);
        for (from_client, bytes) in said {
            let progress = if from_client { dialogue.client(&bytes) } else { dialogue.server(&bytes) };
            match progress {
                Progress::Pass(n) => assert!(n <= bytes.len()),
                Progress::Agreed(n) => assert_eq!((n, from_client), (bytes.len(), false)),
                _ => break,
            }
        }
    }
}
