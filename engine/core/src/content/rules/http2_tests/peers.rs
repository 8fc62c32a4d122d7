//! Two `h2` peers that must stay in step: random rules, cuts, windows and tables, from a seed.
//!
//! Everything runs on an executor of this file, which notices when nobody can go on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, DuplexStream, ReadBuf, duplex};

use super::*;
use crate::event::ContentVerdict;

/// xorshift64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Tasks that are yet to be taken up.
#[derive(Clone, Default)]
struct Spawner(Rc<RefCell<Vec<Task>>>);

impl Spawner {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().push(Box::pin(task));
    }

    /// Until all have ended. Returns how many cannot.
    fn run(&self) -> usize {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut tasks: Vec<Task> = Vec::new();
        loop {
            tasks.append(&mut self.0.borrow_mut());
            if tasks.is_empty() || !flag.0.swap(false, Ordering::Relaxed) {
                return tasks.len();
            }
            let before = tasks.len();
            tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            if tasks.len() < before || !self.0.borrow().is_empty() {
                flag.0.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// What is asked for on one stream.
#[derive(Clone, Copy, Debug)]
struct Asked {
    method: &'static str,
    grpc: bool,
    upload: usize,
    download: usize,
    bad_type: bool,
    trailers: bool,
    /// The server answers before it has read the request's content.
    early: bool,
    /// The client gives up when it has the response's head.
    gives_up: bool,
}

impl Asked {
    fn any(rng: &mut Rng, blocks: bool) -> Self {
        let blocked = ["DELETE", "PATCH", "OPTIONS", "TRACE"];
        let method = if blocks && rng.below(3) == 0 {
            rng.one_of(&blocked)
        } else {
            rng.one_of(&["GET", "POST", "HEAD"])
        };
        let size = |rng: &mut Rng| if rng.below(4) > 0 { rng.below(500) } else { rng.below(100_000) };
        Self {
            method,
            grpc: rng.below(5) == 0,
            upload: if rng.below(2) == 0 { 0 } else { size(rng) },
            download: if method == "HEAD" { 0 } else { size(rng) },
            bad_type: blocks && rng.below(4) == 0,
            trailers: method != "HEAD" && rng.below(4) == 0,
            early: rng.below(4) == 0,
            gives_up: rng.below(10) == 0,
        }
    }

    /// What the client sees: status, length of the content, or a reset.
    fn expected(&self, page: usize) -> String {
        let answer = |status: u16, content: usize| format!("{status} {content}");
        let is_blocked = !matches!(self.method, "GET" | "POST" | "HEAD");
        match self.method {
            "PATCH" => "reset".into(),
            _ if (is_blocked || self.bad_type) && self.grpc => "200 0 grpc 7".into(),
            "DELETE" => answer(403, page + "DELETE".len()),
            "OPTIONS" => answer(451, 0),
            "TRACE" => answer(302, 0),
            "HEAD" if self.bad_type => answer(403, 0),
            _ if self.bad_type => answer(403, page + "type".len()),
            _ if self.trailers => format!("200 {} trailers", self.download),
            _ => answer(200, self.download),
        }
    }
}

/// One run.
struct Case {
    seed: u64,
    blocks: bool,
    requests: usize,
    /// Of the pages, beside what all have.
    page_len: usize,
}

/// What was seen, by number of the request.
#[derive(Default)]
struct Seen {
    by_client: BTreeMap<usize, String>,
    by_server: BTreeMap<usize, String>,
    errors: Vec<String>,
    /// What the ends have sent, and what of it has arrived.
    sent: PerEnd<Vec<u8>>,
    arrived: PerEnd<Vec<u8>>,
}

type Shared<T> = Rc<RefCell<T>>;

fn run(case: &Case) -> (Vec<Asked>, Shared<Seen>, Shared<Wire>) {
    let mut rng = Rng(case.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let asked: Vec<_> = (0..case.requests).map(|_| Asked::any(&mut rng, case.blocks)).collect();
    let (seen, spawner) = (Shared::<Seen>::default(), Spawner::default());
    let wire = Rc::new(RefCell::new(Wire::new(&rules(), case.page_len)));
    let pipe = rng.one_of(&[512, 4096, 65_536]);
    let (client_end, client_wire) = duplex(pipe);
    let (server_end, server_wire) = duplex(pipe);

    let mut client = h2::client::Builder::new();
    client.initial_window_size(rng.one_of(&[1, 100, 5000, 65_535, 1 << 20]));
    client.initial_connection_window_size(rng.one_of(&[65_535, 1 << 20]));
    client.header_table_size(rng.one_of(&[0, 100, 4096, 65_536]));
    client.max_frame_size(rng.one_of(&[16_384, 100_000]));
    // As many as the server lets it open is known only later.
    client.initial_max_send_streams(1);
    let mut server = h2::server::Builder::new();
    // Not less: what a client sends before it knows would never be credited.
    server.initial_window_size(rng.one_of(&[65_535, 1 << 20]));
    server.initial_connection_window_size(rng.one_of(&[65_535, 1 << 20]));
    server.max_concurrent_streams(rng.one_of(&[1, 3, 100]));
    server.max_frame_size(rng.one_of(&[16_384, 100_000]));

    let relay = Relay {
        wire: Rc::clone(&wire),
        seen: Rc::clone(&seen),
        rng: Rng(rng.0),
        largest: rng.one_of(&[20, 500, 3000, 65_536]),
        streams: PerEnd { client: client_wire, server: server_wire },
        out: PerEnd::default(),
        ended: PerEnd::default(),
        shut: PerEnd::default(),
    };
    spawner.spawn(relay);
    spawner.spawn(serve(server, server_end, asked.clone(), Rc::clone(&seen), spawner.clone()));
    spawner.spawn(ask(client, client_end, asked.clone(), Rc::clone(&seen), spawner.clone()));
    let stuck = spawner.run();
    let open = asked.iter().enumerate().filter(|(number, _)| !seen.borrow().by_client.contains_key(number));
    let open: Vec<_> = open.collect();
    assert_eq!(stuck, 0, "seed {}: {open:?} {:?}", case.seed, wire.borrow().rules.queue.bytes());
    (asked, seen, wire)
}

async fn ask(
    builder: h2::client::Builder,
    end: DuplexStream,
    asked: Vec<Asked>,
    seen: Shared<Seen>,
    spawner: Spawner,
) {
    let (mut client, connection) = builder.handshake::<_, Bytes>(end).await.unwrap();
    let errors = Rc::clone(&seen);
    spawner.spawn(async move {
        if let Err(error) = connection.await {
            errors.borrow_mut().errors.push(format!("client: {error}"));
        }
    });
    for (number, asked) in asked.into_iter().enumerate() {
        client = match client.ready().await {
            Ok(client) => client,
            Err(error) => return seen.borrow_mut().errors.push(format!("client: {error}")),
        };
        let mut request = http::Request::builder()
            .method(asked.method)
            .uri(format!("https://a/{number}"))
            .header("cookie", format!("c{}", number % 3));
        if asked.grpc {
            request = request.header("content-type", "application/grpc");
        }
        if number % 2 == 0 && asked.upload > 0 {
            request = request.header("content-length", asked.upload);
        }
        let request = request.body(()).unwrap();
        let (response, mut body) = client.send_request(request, asked.upload == 0).unwrap();
        let seen = Rc::clone(&seen);
        spawner.spawn(async move {
            if asked.upload > 0 {
                let _ = body.send_data(Bytes::from(vec![number as u8; asked.upload]), true);
            }
            let outcome = outcome(number, asked, response).await;
            seen.borrow_mut().by_client.insert(number, outcome);
        });
    }
}

async fn outcome(number: usize, asked: Asked, response: h2::client::ResponseFuture) -> String {
    let response = match response.await {
        Ok(response) => response,
        Err(error) if error.reason() == Some(h2::Reason::CANCEL) => return "reset".into(),
        Err(error) => return format!("{error}"),
    };
    let status = response.status().as_u16();
    let grpc = response.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    let mut body = response.into_body();
    if asked.gives_up {
        return "gave up".into();
    }
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = match data {
            Ok(data) => data,
            Err(error) => return format!("{status} {length} {error}"),
        };
        if status == 200 {
            assert!(data.iter().all(|&octet| octet == number as u8), "data of another stream");
        }
        length += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers = match body.trailers().await {
        Ok(Some(_)) => " trailers".to_owned(),
        Ok(None) => String::new(),
        Err(error) => format!(" {error}"),
    };
    format!("{status} {length}{trailers}{}", grpc.map(|status| format!(" grpc {status}")).unwrap_or_default())
}

async fn serve(
    builder: h2::server::Builder,
    end: DuplexStream,
    asked: Vec<Asked>,
    seen: Shared<Seen>,
    spawner: Spawner,
) {
    let mut connection = builder.handshake::<_, Bytes>(end).await.unwrap();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => return seen.borrow_mut().errors.push(format!("server: {error}")),
        };
        let number: usize = request.uri().path()[1..].parse().unwrap();
        let said = format!("{} {}", request.method(), request.headers()["cookie"].to_str().unwrap());
        seen.borrow_mut().by_server.insert(number, said);
        spawner.spawn(handle(number, asked[number], request, respond));
    }
}

async fn handle(
    number: usize,
    asked: Asked,
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) {
    let mut upload = request.into_body();
    if !asked.early {
        take(&mut upload).await;
    }
    let response = http::Response::builder()
        .header("content-type", if asked.bad_type { "bad/type" } else { "good/type" })
        .header("set-cookie", format!("s{}", number % 4))
        .body(())
        .unwrap();
    let ends = asked.download == 0 && !asked.trailers;
    let Ok(mut body) = respond.send_response(response, ends) else { return };
    if !ends {
        let data = Bytes::from(vec![number as u8; asked.download]);
        if body.send_data(data, !asked.trailers).is_ok() && asked.trailers {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("checksum", "1".parse().unwrap());
            let _ = body.send_trailers(trailers);
        }
    }
    take(&mut upload).await;
}

async fn take(body: &mut h2::RecvStream) -> usize {
    let mut length = 0;
    while let Some(Ok(data)) = body.data().await {
        length += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    length
}

/// Reads pieces of any size from both ends, and writes what the relay makes of them.
struct Relay {
    wire: Shared<Wire>,
    seen: Shared<Seen>,
    rng: Rng,
    largest: usize,
    streams: PerEnd<DuplexStream>,
    out: PerEnd<Vec<u8>>,
    ended: PerEnd<bool>,
    shut: PerEnd<bool>,
}

impl Future for Relay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut order = End::BOTH;
        order.rotate_left(this.rng.below(2));
        for from in order {
            let mut buffer = vec![0; 1 + this.rng.below(this.largest)];
            let mut read = ReadBuf::new(&mut buffer);
            if this.ended[from]
                || Pin::new(&mut this.streams[from]).poll_read(context, &mut read).is_pending()
            {
                continue;
            }
            context.waker().wake_by_ref();
            let mut wire = this.wire.borrow_mut();
            if read.filled().is_empty() {
                this.ended[from] = true;
                wire.close(from);
            } else {
                this.seen.borrow_mut().sent[from].extend_from_slice(read.filled());
                wire.send(from, read.filled());
            }
            assert_eq!(wire.ending(), None);
        }
        for to in End::BOTH {
            let received = this.wire.borrow_mut().receive(to);
            this.seen.borrow_mut().arrived[to.other()].extend_from_slice(&received);
            this.out[to].extend(received);
            while !this.out[to].is_empty() {
                match Pin::new(&mut this.streams[to]).poll_write(context, &this.out[to]) {
                    Poll::Ready(Ok(written)) => drop(this.out[to].drain(..written)),
                    Poll::Ready(Err(_)) => this.out[to].clear(),
                    Poll::Pending => break,
                }
            }
            if this.ended[to.other()] && this.out[to].is_empty() && !this.shut[to] {
                this.shut[to] = Pin::new(&mut this.streams[to]).poll_shutdown(context).is_ready();
            }
        }
        if this.shut.client && this.shut.server { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn check(case: &Case) {
    let (asked, seen, wire) = run(case);
    let seen = seen.borrow();
    assert!(case.blocks || seen.sent == seen.arrived, "seed {}: changed though no rule says so", case.seed);
    let page = "Blocked: !".len() + case.page_len;
    for (number, asked) in asked.iter().enumerate() {
        let expected = asked.expected(page);
        let got = seen.by_client.get(&number).map(String::as_str);
        let context = || format!("seed {}, request {number}: {asked:?}", case.seed);
        if !(asked.gives_up && got == Some("gave up") && expected != "reset") {
            assert_eq!(got, Some(&*expected), "{}", context());
        }
        let is_blocked = !matches!(asked.method, "GET" | "POST" | "HEAD");
        let passed = (!is_blocked).then(|| format!("{} c{}", asked.method, number % 3));
        assert_eq!(seen.by_server.get(&number), passed.as_ref(), "{}", context());
    }
    assert_eq!(seen.errors, Vec::<String>::new(), "seed {}", case.seed);
    let wire = wire.borrow();
    assert_eq!(wire.rules.windows.held(), 0, "seed {}", case.seed);
    assert!(wire.rules.queue.is_empty(), "seed {}", case.seed);
    let blocked = wire.events.iter().filter(|event| event.verdict == Some(ContentVerdict::Blocked)).count();
    assert_eq!(blocked, wire.alerts.len(), "seed {}", case.seed);
}

fn check_all(seeds: std::ops::Range<u64>, blocks: bool) {
    for seed in seeds {
        let mut rng = Rng(seed * 7919 + 1);
        let page_len = if rng.below(3) == 0 { rng.below(4000) } else { 0 };
        check(&Case { seed, blocks, requests: 1 + rng.below(20), page_len });
    }
}

#[test]
fn what_no_rule_touches_is_not_changed() {
    check_all(0..20, false);
}

#[test]
fn every_stream_has_the_outcome_that_the_rules_say() {
    check_all(0..60, true);
}
