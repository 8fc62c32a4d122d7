//! Taking an interface of the kernel up or down, as `ip link set dev eth1 down` does: one request of rtnetlink(7).

use std::io;
use std::os::fd::AsRawFd;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Length of the request: `struct nlmsghdr`, `struct ifinfomsg`. <linux/netlink.h>, <linux/rtnetlink.h>.
const REQUEST: usize = 32;
/// Length of the header of a message.
const HEADER: usize = 16;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST_ACK: u16 = 0x1 | 0x4;
/// An acknowledgement, too: its error is 0.
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;

/// Has it up, or down, in this network namespace.
///
/// # Errors
/// There is no such interface, or the kernel does not allow it (CAP_NET_ADMIN).
pub(super) fn set_up(interface: &str, up: bool) -> io::Result<()> {
    let index = if_nametoindex(interface)?;
    let route =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    // The kernel answers at once.
    setsockopt(&route, sockopt::ReceiveTimeout, &TimeVal::seconds(1))?;
    bind(route.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    send(route.as_raw_fd(), &request(index, up), MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let length = recv(route.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledged(&answer[..length])
}

fn request(index: u32, up: bool) -> [u8; REQUEST] {
    let (length, flags) = (REQUEST as u32, if up { IFF_UP } else { 0 });
    let mut bytes = [0; REQUEST];
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    bytes[20..24].copy_from_slice(&index.to_ne_bytes());
    bytes[24..28].copy_from_slice(&flags.to_ne_bytes());
    // Of the flags, only this one changes.
    bytes[28..32].copy_from_slice(&IFF_UP.to_ne_bytes());
    bytes
}

fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error =
        answer.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        let error = set_up("no-such-port", true).expect_err("there is none");
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENODEV));
    }

    #[test]
    fn what_the_kernel_answers_is_read() {
        let answer = |kind: u16, error: i32| {
            let mut bytes = [0; 36];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..20].copy_from_slice(&error.to_ne_bytes());
            acknowledged(&bytes).map_err(|error| error.raw_os_error())
        };
        assert_eq!(answer(NLMSG_ERROR, 0), Ok(()));
        assert_eq!(answer(NLMSG_ERROR, -nix::libc::EPERM), Err(Some(nix::libc::EPERM)));
        assert_eq!(answer(RTM_NEWLINK, 0), Err(None));
        assert!(acknowledged(&[0; 5]).is_err() && acknowledged(&[]).is_err());
    }

    /// The loopback is up, and stays so: asking for what is there needs the right, and changes nothing.
    #[test]
    fn the_kernel_understands_the_request() {
        match set_up("lo", true) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.raw_os_error(), Some(nix::libc::EPERM), "{error}"),
        }
    }
}
