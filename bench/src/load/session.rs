//! Both ends' applications: a client that asks for an object, a server that gives it.

use std::sync::Arc;

use smoltcp::socket::tcp::{Socket, State};

use super::transport::{Failure, Protocol, Transport};

/// Bytes of a ClientHello that come before the rest.
const FIRST_PIECE: usize = 100;
/// The object's bytes repeat after so many; a prime, so that no piece fits by chance.
const PERIOD: usize = 251;

/// What is asked and answered, the same in every exchange.
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    /// Head and object.
    pub(crate) response: Vec<u8>,
    /// Bytes of the object.
    pub(crate) object: usize,
}

impl Exchange {
    /// HTTP/1.1 for an object of so many bytes.
    pub(crate) fn new(object: usize) -> Self {
        let request = format!(
            "GET /object/{object} HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: wireglass-bench\r\nAccept: */*\r\n\r\n"
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\nServer: wireglass-bench\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {object}\r\n\r\n"
        );
        let body = (0..object).map(|at| (at % PERIOD) as u8);
        Self {
            request: request.into_bytes(),
            response: head.into_bytes().into_iter().chain(body).collect(),
            object,
        }
    }
}

/// What a call has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// The client may ask.
    pub(crate) ready: bool,
    /// The first byte of an answer has come.
    pub(crate) first_byte: bool,
    /// The answer is complete.
    pub(crate) done: bool,
    /// The next frame is to leave twice, and then there is more to send.
    pub(crate) twice: bool,
    /// Bytes of a request or an answer that have come.
    pub(crate) received: usize,
    /// It will come to nothing.
    pub(crate) failed: Option<Failure>,
}

/// One end's application.
pub(crate) struct Session {
    transport: Transport,
    role: Role,
    /// It has ended its direction, or is about to.
    closing: bool,
    closed: bool,
}

enum Role {
    Client(Client),
    Server(Server),
}

struct Client {
    was_ready: bool,
    hello: Option<Arc<[u8]>>,
    hello_sent: usize,
    /// Bytes of the request that are still to be sent.
    to_send: usize,
    /// Bytes of the answer that have come; none: nothing was asked.
    got: Option<usize>,
}

struct Server {
    /// Bytes of a plain ClientHello that are still to come.
    skip: usize,
    /// Bytes of the request that have come.
    got: usize,
    /// Bytes of the answer that are still to be sent.
    to_send: usize,
}

impl Session {
    /// The client's end of connection `n`.
    pub(crate) fn client(protocol: &Protocol, n: usize) -> Self {
        let hello = if let Protocol::Hello(hello) = protocol { Some(Arc::clone(hello)) } else { None };
        let client = Client { was_ready: false, hello, hello_sent: 0, to_send: 0, got: None };
        Self {
            transport: Transport::client(protocol, n),
            role: Role::Client(client),
            closing: false,
            closed: false,
        }
    }

    pub(crate) fn server(protocol: &Protocol) -> Self {
        let skip = if let Protocol::Hello(hello) = protocol { hello.len() } else { 0 };
        let server = Server { skip, got: 0, to_send: 0 };
        Self {
            transport: Transport::server(protocol),
            role: Role::Server(server),
            closing: false,
            closed: false,
        }
    }

    /// The client asks. What leaves, leaves with the next [`Self::poll`].
    pub(crate) fn ask(&mut self, exchange: &Exchange) {
        if let Role::Client(client) = &mut self.role {
            client.to_send = exchange.request.len();
            client.got = Some(0);
        }
    }

    /// Ends this direction, with the next [`Self::poll`].
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Its TLS session goes on where an earlier one ended.
    pub(crate) fn is_resumed(&self) -> bool {
        self.transport.is_resumed()
    }

    /// Moves bytes between the socket and the application.
    pub(crate) fn poll(&mut self, socket: &mut Socket<'_>, exchange: &Exchange) -> News {
        let mut news = News::default();
        match socket.state() {
            State::Listen | State::SynSent | State::SynReceived => return news,
            State::Closed | State::TimeWait => {
                if !self.closing {
                    news.failed = Some("reset");
                }
                return news;
            }
            _ => {}
        }
        if let Role::Client(client) = &mut self.role
            && !client.say_hello(socket, &mut news)
        {
            return news;
        }
        match self.receive(socket, exchange, &mut news) {
            // The other end has ended: so do we, once all is said.
            Ok(true) if matches!(self.role, Role::Server(_)) => self.closing = true,
            Ok(true) if !self.closing => news.failed = Some("closed"),
            Ok(_) => {}
            Err(failure) => {
                self.transport.flush(socket);
                news.failed = Some(failure);
                return news;
            }
        }
        self.send(socket, exchange, &mut news);
        news
    }

    fn receive(
        &mut self,
        socket: &mut Socket<'_>,
        exchange: &Exchange,
        news: &mut News,
    ) -> Result<bool, Failure> {
        let mut wrong = None;
        let role = &mut self.role;
        let ended = self.transport.read(socket, |bytes| match role {
            Role::Client(client) => wrong = wrong.or(client.take(bytes, exchange, news).err()),
            Role::Server(server) => wrong = wrong.or(server.take(bytes, exchange, news).err()),
        })?;
        wrong.map_or(Ok(ended), Err)
    }

    fn send(&mut self, socket: &mut Socket<'_>, exchange: &Exchange, news: &mut News) {
        let flushed = self.transport.flush(socket);
        if !self.transport.is_ready() {
            return;
        }
        let (to_send, whole) = match &mut self.role {
            Role::Client(client) => {
                news.ready = !std::mem::replace(&mut client.was_ready, true);
                (&mut client.to_send, &exchange.request)
            }
            Role::Server(server) => (&mut server.to_send, &exchange.response),
        };
        if flushed && *to_send > 0 {
            *to_send -= self.transport.write(&whole[whole.len() - *to_send..], socket);
        }
        if *to_send == 0 && self.closing && !self.closed {
            self.closed = self.transport.close(socket);
        }
    }
}

impl Client {
    /// False: something of the plain ClientHello is still to be sent.
    fn say_hello(&mut self, socket: &mut Socket<'_>, news: &mut News) -> bool {
        let Some(hello) = &self.hello else { return true };
        if self.hello_sent == 0 {
            self.hello_sent = socket.send_slice(&hello[..FIRST_PIECE]).unwrap_or(0);
            news.twice = true;
            return false;
        }
        self.hello_sent += socket.send_slice(&hello[self.hello_sent..]).unwrap_or(0);
        if self.hello_sent == hello.len() {
            self.hello = None;
        }
        self.hello.is_none()
    }

    fn take(&mut self, bytes: &[u8], exchange: &Exchange, news: &mut News) -> Result<(), Failure> {
        let Some(got) = &mut self.got else { return Err("unasked") };
        let expected = exchange.response.get(*got..*got + bytes.len()).ok_or("too long")?;
        // TLS vouches for what is in each leg; both ends of every piece show that the engine has put it together rightly.
        if (bytes.first(), bytes.last()) != (expected.first(), expected.last()) {
            return Err("wrong bytes");
        }
        news.first_byte |= *got == 0;
        news.received += bytes.len();
        *got += bytes.len();
        if *got == exchange.response.len() {
            news.done = true;
            self.got = None;
        }
        Ok(())
    }
}

impl Server {
    fn take(&mut self, bytes: &[u8], exchange: &Exchange, news: &mut News) -> Result<(), Failure> {
        let hello = self.skip.min(bytes.len());
        self.skip -= hello;
        let bytes = &bytes[hello..];
        let expected = exchange.request.get(self.got..self.got + bytes.len()).ok_or("request too long")?;
        if bytes != expected {
            return Err("wrong request");
        }
        news.received += bytes.len();
        self.got += bytes.len();
        if self.got == exchange.request.len() {
            self.got = 0;
            self.to_send = exchange.response.len();
        }
        Ok(())
    }
}
