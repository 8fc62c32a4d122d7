//! What came of asking an ICAP server about the test file of EICAR.

use super::findings::Finding;
use crate::icap::Probe;
use wireglass_core::icap::Method;

pub(super) fn icap_finding(name: &str, method: Method, said: &Result<Probe, String>) -> Finding {
    let (key, what) = match method {
        Method::Reqmod => ("reqmod", "requests"),
        Method::Respmod => ("respmod", "responses"),
    };
    let takes = |probe: &Probe| match method {
        Method::Reqmod => probe.options.reqmod,
        Method::Respmod => probe.options.respmod,
    };
    match said {
        Err(why) => Finding::bad(
            "icap",
            format!("{name}: {why}"),
            "bodies that rules have it asked about are blocked, unless content.on_icap says otherwise",
            format!("start the server, or correct `{key}` of the server in the configuration"),
        ),
        Ok(probe) if !takes(probe) => Finding::bad(
            "icap",
            format!("{name}: it does not take {what}"),
            "it cannot be asked about them",
            format!("name a service of the server that has {}", method.name()),
        ),
        Ok(Probe { found: None, .. }) => Finding::bad(
            "icap",
            format!("{name}: it lets the test file of EICAR pass"),
            "it finds nothing: its scanner is not there, or not asked",
            "for c-icap: virus_scan.DefaultEngine clamd, with clamd_mod.conf included before virus_scan.conf",
        ),
        Ok(Probe { found: Some(found), .. }) => {
            Finding::good("icap", format!("{name}: finds the test file of EICAR ({found})"))
        }
    }
}

#[cfg(test)]
mod tests {
    use wireglass_core::icap::ServiceOptions;

    use super::super::findings::Level;
    use super::*;

    #[test]
    fn only_a_server_that_finds_something_is_good() {
        let probe = |takes, found: Option<&str>| {
            let options = ServiceOptions { respmod: takes, reqmod: !takes, ..ServiceOptions::default() };
            Ok(Probe { options, found: found.map(str::to_owned) })
        };
        let level = |said| icap_finding("icap.av", Method::Respmod, &said).level;
        assert_eq!(level(probe(true, Some("Eicar"))), Level::Good);
        assert_eq!(level(probe(true, None)), Level::Bad);
        assert_eq!(level(probe(false, Some("Eicar"))), Level::Bad);
        let of_requests = |said| icap_finding("icap.av", Method::Reqmod, &said).level;
        assert_eq!(of_requests(probe(false, Some("Eicar"))), Level::Good);
        assert_eq!(of_requests(probe(true, Some("Eicar"))), Level::Bad);
        assert_eq!(level(Err("no answer in time".into())), Level::Bad);
    }
}
