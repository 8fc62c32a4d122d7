//! Servers that are not as they should be, and clients that make it hard, each as a script for the two ends of a connection. What
//! becomes of them is for whoever stands between.

pub mod certificates;
pub mod clients;
pub mod protocol;
mod server_hello;

use std::error::Error;

use rcgen::{BasicConstraints, CertificateParams, GeneralSubtree, IsCa, NameConstraints, SerialNumber};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

use super::{
    Authority, ClientOptions, CtSigner, EngineCa, Identity, ServerOptions, Session, Step, providers,
};

/// Makes one of them.
pub type Maker = fn(&Internet) -> Result<Play, Box<dyn Error>>;

/// Whom clients ask for, where it does not matter.
pub const HOST: &str = "www.example.com";
/// Address of the server.
pub const ADDRESS: &str = "10.0.0.2";
/// What the client says when it has somebody to say it to.
pub const REQUEST: &[u8] = b"GET /secret HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
/// What the server answers.
pub const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer";

/// A root that signs with RSA, and two leaves of it. Nobody has its key any more.
const OLD_ROOT: &str = include_str!("old/root.pem");

/// The CAs of the servers, and those of an engine between.
pub struct Internet {
    crypto: CryptoProvider,
    root: Authority,
    issuer: Authority,
    stranger: Authority,
    /// Has a CRL.
    listing: Authority,
    /// Is in the root's CRL.
    revoked: Authority,
    /// May sign for names below `example.net` only.
    constrained: Authority,
    /// May have no CA below it, and has one.
    last: Authority,
    beyond: Authority,
    between: [EngineCa; 2],
    logs: Vec<CtLogKey>,
}

/// A log of Certificate Transparency that has promised all leaves: key (DER of its SubjectPublicKeyInfo) and operator.
pub type CtLogKey = (Vec<u8>, &'static str);

impl Internet {
    /// New ones. `with_timestamps`: CT logs promise their leaves, unless a case is about those that have none.
    ///
    /// # Errors
    /// When no crypto provider is built in, or rcgen cannot make a certificate.
    pub fn new(with_timestamps: bool) -> Result<Self, Box<dyn Error>> {
        let (_, crypto) = providers().into_iter().next().ok_or("no crypto provider is built in")?;
        let signers = if with_timestamps {
            vec![CtSigner::new("One")?, CtSigner::new("Two")?, CtSigner::new("Three")?]
        } else {
            Vec::new()
        };
        let logs = signers.iter().map(|log| (log.public_key(), log.operator())).collect();
        let root = Authority::root("Internet root")?.promised_by(signers);
        let last =
            root.below("Internet last CA", |ca| ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))?;
        Ok(Self {
            crypto,
            issuer: root.below("Internet CA", |_| {})?,
            stranger: Authority::root("Nobody's root")?,
            listing: root.below("Internet CA with a list", |_| {})?,
            revoked: root.below("Internet CA that was revoked", |ca| ca.serial_number = Some(serial()))?,
            constrained: root.below("Internet CA of example.net", |ca| {
                ca.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![GeneralSubtree::DnsName("example.net".into())],
                    excluded_subtrees: Vec::new(),
                });
            })?,
            beyond: last.below("Internet CA beyond the last", |_| {})?,
            between: [EngineCa::new("Trusted CA")?, EngineCa::new("Untrusted CA")?],
            last,
            root,
            logs,
        })
    }

    /// The roots that are to be trusted.
    ///
    /// # Errors
    /// None: the file with one of them is built in.
    pub fn roots(&self) -> Result<Vec<CertificateDer<'static>>, Box<dyn Error>> {
        Ok(vec![self.root.certificate(), pem(OLD_ROOT)?])
    }

    /// The CRLs that are to be known, in DER.
    ///
    /// # Errors
    /// When rcgen cannot make one.
    pub fn crls(&self) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
        Ok(vec![self.root.crl(&[&serial()])?, self.listing.crl(&[&serial()])?])
    }

    /// The trusted and the untrusted CA of an engine.
    pub fn between(&self) -> &[EngineCa; 2] {
        &self.between
    }

    /// The logs that are to be known.
    pub fn logs(&self) -> &[CtLogKey] {
        &self.logs
    }

    /// A leaf of the ordinary CA for [`HOST`], changed by `change`, and the CA's word that it is good.
    fn ordinary(&self, change: impl FnOnce(&mut CertificateParams)) -> Result<Play, Box<dyn Error>> {
        self.by(&self.issuer, &[], change)
    }

    /// Likewise of another CA, which the server sends as well as those `above` it.
    fn by(
        &self,
        issuer: &Authority,
        above: &[&Authority],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Play, Box<dyn Error>> {
        let between: Vec<_> = std::iter::once(issuer).chain(above.iter().copied()).collect();
        let identity = issuer.identity(&[HOST], &between, change)?;
        let staple = issuer.staple(&identity.chain[0], false)?;
        Ok(self.play(identity, staple))
    }

    /// The server shows this identity, and an ordinary client asks it for [`HOST`].
    fn play(&self, identity: Identity, staple: Vec<u8>) -> Play {
        let mut options = ServerOptions::new(self.crypto.clone(), identity.chain, identity.key);
        options.staple = staple;
        Play::new(self, Server::Tls(Box::new(options)))
    }
}

/// Serial number of what is revoked.
fn serial() -> SerialNumber {
    SerialNumber::from(vec![0x52; 8])
}

fn pem(text: &str) -> Result<CertificateDer<'static>, Box<dyn Error>> {
    use rustls::pki_types::pem::PemObject;
    Ok(CertificateDer::from_pem_slice(text.as_bytes())?)
}

/// What a server says.
enum Server {
    /// TLS as rustls has it.
    Tls(Box<ServerOptions>),
    /// TLS, and then these bytes among its records instead of an answer.
    Breaks(Box<ServerOptions>, Vec<u8>),
    /// These bytes, once the client has said something.
    Says(Vec<u8>),
}

/// A connection between the two ends, or several, one after the other.
pub struct Play {
    /// Numbers of the hosts whose clients connect, in turn. More than one where one alone proves nothing.
    pub hosts: Vec<u8>,
    /// The clients take the server's own certificate only, though elsewhere they take others. Else they take any, so that what becomes of
    /// the connection is not their doing.
    pub is_pinned: bool,
    name: &'static str,
    client: ClientOptions,
    server: Server,
}

impl Play {
    fn new(internet: &Internet, server: Server) -> Self {
        let client = ClientOptions::new(internet.crypto.clone(), vec![internet.root.certificate()]);
        Self { hosts: vec![1], is_pinned: false, name: HOST, client, server }
    }

    fn asked_for(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// The client's end.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn client(&self) -> Result<Session, rustls::Error> {
        let mut options = self.client.clone();
        options.takes_any = !self.is_pinned;
        let script = [Step::Send(REQUEST.to_vec()), Step::Receive(RESPONSE.len()), Step::Finish];
        Session::tls_client(options.build()?, self.name, script)
    }

    /// The server's end.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn server(&self) -> Result<Session, rustls::Error> {
        let heard = || Step::Receive(REQUEST.len());
        match &self.server {
            Server::Tls(options) => Session::tls_server(
                options.build()?,
                [heard(), Step::Send(RESPONSE.to_vec()), Step::AwaitEnd, Step::Finish],
            ),
            Server::Breaks(options, bytes) => Session::tls_server(
                options.build()?,
                [heard(), Step::SendRaw(bytes.clone()), Step::AwaitEnd, Step::Finish],
            ),
            Server::Says(bytes) => {
                Ok(Session::plain([Step::Receive(1), Step::Send(bytes.clone()), Step::Finish]))
            }
        }
    }

    /// The certificate that the server shows first; none: it has none.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        match &self.server {
            Server::Tls(options) | Server::Breaks(options, _) => options.chain.first(),
            Server::Says(_) => None,
        }
    }
}
