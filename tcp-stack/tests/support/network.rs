//! Two hosts and the links between them, perhaps with a middle: the loop that moves frames and time.

use tcp_stack::{Duration, Instant};

use super::earliest;
use super::host::Host;
use super::link::Link;
use super::middle::Middle;

/// Longest virtual time that a run may take.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub struct Network {
    pub client: Box<dyn Host>,
    pub server: Box<dyn Host>,
    pub wire: Wire,
}

/// What lies between the hosts.
pub enum Wire {
    /// Client to server, server to client.
    Direct(Box<[Link; 2]>),
    /// Client to middle, middle to client, middle to server, server to middle.
    Through(Box<Middle>, Box<[Link; 4]>),
}

impl Network {
    /// Runs until both streams are through both ways and all ends are closed. Panics if something stalls.
    pub fn run(&mut self, start: Instant) {
        let mut now = start;
        loop {
            self.note_paths();
            self.deliver(now);
            self.poll(now);
            while self.tell_too_big(now) {
                self.poll(now);
            }
            if self.is_done() {
                return;
            }
            let next = self.next(now);
            let next = next.unwrap_or_else(|| panic!("stuck: {}", self.describe()));
            now = if next > now { next } else { now + Duration::from_micros(100) };
            if self.client.is_spinning() || self.server.is_spinning() {
                return;
            }
            if now > start + PATIENCE && (self.client.is_at_fault(now) || self.server.is_at_fault(now)) {
                return;
            }
            assert!(now < start + PATIENCE, "too slow: {}", self.describe());
        }
    }

    fn deliver(&mut self, now: Instant) {
        match &mut self.wire {
            Wire::Direct(links) => {
                let [up, down] = &mut **links;
                arrivals(up, now, |frame| self.server.receive(now, frame));
                arrivals(down, now, |frame| self.client.receive(now, frame));
            }
            Wire::Through(middle, links) => {
                let [in_up, in_down, out_up, out_down] = &mut **links;
                arrivals(in_up, now, |frame| middle.receive(now, frame));
                arrivals(out_down, now, |frame| middle.receive(now, frame));
                arrivals(out_up, now, |frame| self.server.receive(now, frame));
                arrivals(in_down, now, |frame| self.client.receive(now, frame));
            }
        }
    }

    fn poll(&mut self, now: Instant) {
        let from_client = self.client.poll(now);
        let from_server = self.server.poll(now);
        match &mut self.wire {
            Wire::Direct(links) => {
                let [up, down] = &mut **links;
                send(up, now, from_client);
                send(down, now, from_server);
            }
            Wire::Through(middle, links) => {
                let [in_up, in_down, out_up, out_down] = &mut **links;
                send(in_up, now, from_client);
                send(out_down, now, from_server);
                let (to_client, to_server) = middle.poll(now);
                send(in_down, now, to_client);
                send(out_up, now, to_server);
            }
        }
    }

    /// Whether somebody was told that a packet was too long: it has something to send then.
    fn tell_too_big(&mut self, now: Instant) -> bool {
        let mut told = false;
        let (client, server) = (&mut self.client, &mut self.server);
        let mut tell = |link: &mut Link, to: &mut dyn FnMut(&[u8], usize)| {
            for (frame, mtu) in link.take_too_big() {
                told = true;
                to(&frame, mtu);
            }
        };
        match &mut self.wire {
            Wire::Direct(links) => {
                let [up, down] = &mut **links;
                tell(up, &mut |frame, mtu| client.too_big(now, frame, mtu));
                tell(down, &mut |frame, mtu| server.too_big(now, frame, mtu));
            }
            Wire::Through(middle, links) => {
                let [in_up, in_down, out_up, out_down] = &mut **links;
                tell(in_up, &mut |frame, mtu| client.too_big(now, frame, mtu));
                tell(out_down, &mut |frame, mtu| server.too_big(now, frame, mtu));
                tell(in_down, &mut |frame, mtu| middle.too_big(now, 0, frame, mtu));
                tell(out_up, &mut |frame, mtu| middle.too_big(now, 1, frame, mtu));
            }
        }
        told
    }

    fn note_paths(&mut self) {
        match &mut self.wire {
            Wire::Direct(links) => {
                let [up, down] = &mut **links;
                let path = up.slowest + down.slowest;
                self.client.note_path(path);
                self.server.note_path(path);
            }
            Wire::Through(middle, links) => {
                let [in_up, in_down, out_up, out_down] = &mut **links;
                let inside = in_up.slowest + in_down.slowest;
                let outside = out_up.slowest + out_down.slowest;
                middle.note_paths([inside, outside]);
                // The handshake goes all the way.
                self.client.note_path(inside + outside);
                self.server.note_path(inside + outside);
            }
        }
    }

    fn is_done(&self) -> bool {
        let middle = match &self.wire {
            Wire::Direct(_) => true,
            Wire::Through(middle, _) => middle.is_done(),
        };
        self.client.is_done() && self.server.is_done() && middle
    }

    fn next(&mut self, now: Instant) -> Option<Instant> {
        let hosts = [self.client.next_poll(now), self.server.next_poll(now)];
        let (links, middle) = match &self.wire {
            Wire::Direct(links) => (&links[..], None),
            Wire::Through(middle, links) => (&links[..], middle.next_poll(now)),
        };
        earliest(links.iter().map(Link::next_arrival).chain(hosts).chain([middle]))
    }

    fn describe(&self) -> String {
        let middle = match &self.wire {
            Wire::Direct(_) => String::new(),
            Wire::Through(middle, _) => middle.describe(),
        };
        format!("\nclient {}\nserver {}\nmiddle {middle}", self.client.describe(), self.server.describe())
    }
}

fn arrivals(link: &mut Link, now: Instant, mut take: impl FnMut(Vec<u8>)) {
    while let Some(frame) = link.receive(now) {
        take(frame);
    }
}

fn send(link: &mut Link, now: Instant, frames: Vec<Vec<u8>>) {
    frames.into_iter().for_each(|frame| link.send(now, frame));
}
