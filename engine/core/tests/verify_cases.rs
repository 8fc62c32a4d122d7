//! Thousands of chains, made at random from descriptions. What is to be found follows from the description; webpki is asked about
//! each as well, and OpenSSL about some. Where we differ, it is written down why.
#![allow(clippy::unwrap_used, clippy::panic)]

mod verify_support;

use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use rustls_pki_types::{ServerName, UnixTime};
use verify_support::cases::{Case, Kind, Spec, kind};
use verify_support::*;
use wireglass_core::x509::Provider;

fn keys() -> Vec<KeyPair> {
    (0..6).map(|_| key()).collect()
}

#[test]
fn what_is_found_is_what_is_wrong() {
    let keys = keys();
    let mut good = 0;
    let (mut seen, mut places) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for seed in 0..3000 {
        let mut dice = Dice(seed);
        let case = Case::at_random(&mut dice);
        let (roots, chain) = case.build(&keys, &mut dice);
        let findings = verify(&trusting(&roots), &chain, case.asked);
        let expected = case.expected();
        assert_eq!(found(&findings), expected, "seed {seed}: {case:#?}\n{:#?}", findings.findings);
        good += usize::from(expected.is_empty());
        seen.extend(expected.iter().map(|(_, reason)| reason.code()));
        places.extend(expected.iter().map(|(place, _)| *place));
    }
    assert!((500..2500).contains(&good), "{good} of 3000 are good: the cases say little");
    assert_eq!((seen.len(), places.len()), (7, 5), "{seen:?} {places:?}");
}

/// webpki takes nothing that we refuse, nor the other way around, but for what we check beyond it, and it cannot judge.
#[test]
fn webpki_agrees() {
    let keys = keys();
    let algorithms = Provider::default();
    let algorithms = match algorithms {
        #[cfg(feature = "aws-lc-rs")]
        Provider::AwsLcRs => rustls::crypto::aws_lc_rs::default_provider(),
        #[cfg(feature = "ring")]
        Provider::Ring => rustls::crypto::ring::default_provider(),
    }
    .signature_verification_algorithms
    .all;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW));
    let mut compared = 0;
    for seed in 10_000..12_000 {
        let mut dice = Dice(seed);
        let case = Case::at_random(&mut dice);
        let (roots, chain) = case.build(&keys, &mut dice);
        let ours = verify(&trusting(&roots), &chain, case.asked);
        // It has neither distinguished names nor mailboxes; it looks at self-issued CAs; and for one with a keyUsage, dates of
        // roots and any purpose it leaves the decision to us.
        let beyond = case.path.iter().any(|spec| {
            spec.permitted
                .iter()
                .chain(&spec.excluded)
                .any(|b| [Kind::Directory, Kind::Mail].contains(&b.kind))
                || spec.self_issued
                || spec.purposes == [ExtendedKeyUsagePurpose::Any]
                || (spec.permitted.len() + spec.excluded.len() > 0 && case.names.contains(&"*.example.com"))
        }) || case.path[0].purposes.is_empty();
        if beyond {
            continue;
        }
        let anchor = webpki::anchor_from_trusted_cert(&roots[0]).unwrap();
        let theirs = webpki::EndEntityCert::try_from(&chain[0]).and_then(|leaf| {
            leaf.verify_for_usage(
                algorithms,
                &[anchor],
                &chain[1..],
                now,
                webpki::KeyUsage::server_auth(),
                None,
                None,
            )?;
            leaf.verify_is_valid_for_subject_name(&ServerName::try_from(case.asked).unwrap())
        });
        let root = case.path.len() - 1;
        let only_ours = |spec: &Spec| !spec.usages.is_empty();
        let ours_alone =
            case.path.iter().any(only_ours) || case.path[root].dates.1 < 0 || case.path[root].dates.0 > 0;
        let ours_alone = ours_alone || case.path[root].path_len.is_some();
        match theirs {
            Ok(_) if !ours_alone => assert_eq!(ours.defects, [], "seed {seed}: {case:#?}"),
            Ok(_) => {}
            Err(error) => assert_ne!(ours.defects, [], "seed {seed}: {error:?} {case:#?}"),
        }
        compared += 1;
    }
    assert!(compared > 800, "{compared}");
}

#[test]
fn openssl_agrees() {
    let keys = keys();
    let folder = tempfile::tempdir().unwrap();
    let mut outcomes = [0; 2];
    for seed in 20_000..20_300 {
        let mut dice = Dice(seed);
        let mut case = Case::at_random(&mut dice);
        // OpenSSL does not go back where a certificate of the same name and key leads nowhere.
        case.junk = 0;
        let (roots, chain) = case.build(&keys, &mut dice);
        let ours = verify(&trusting(&roots), &chain, case.asked);
        let name = if kind(case.asked) == Kind::Ip { "-verify_ip" } else { "-verify_hostname" };
        match openssl(folder.path(), &roots, &chain, &[name, case.asked]) {
            Ok(()) if case.stricter_than_openssl() => {}
            Ok(()) => {
                assert_eq!(ours.defects, [], "seed {seed}: {case:#?}");
                outcomes[0] += 1;
            }
            Err(_) if case.looser_than_openssl() => {}
            Err(error) => {
                assert_ne!(ours.defects, [], "seed {seed}: {error} {case:#?}");
                outcomes[1] += 1;
            }
        }
    }
    assert!(outcomes.iter().all(|n| *n > 50), "{outcomes:?}");
}
