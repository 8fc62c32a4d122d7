//! Servers that are known as such that cannot be decrypted: who learns them, for whom they count, how long and how many.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;
use std::sync::Arc;

use wireglass_core::exclusions::{
    CAPACITY, Cause, Client, Clients, Contact, DEFAULT_LIFETIME, Exclusion, Exclusions, Learned, Offer,
    Server,
};
use wireglass_core::foreign::Heard;

const NOW: u64 = 1_800_000_000;

fn wire() -> Arc<str> {
    "lan".into()
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

/// Somebody with this address and this fingerprint.
fn client(last: u8, ja4: &str) -> Client<'_> {
    Client { address: address(last), ja4, offer: Offer([1; 10]) }
}

fn to<'a>(wire: &'a Arc<str>, name: &'a str) -> Contact<'a> {
    Contact { wire, vlan: [None; 2], name: Some(name), address: address(80), port: 443 }
}

fn causes(exclusions: &Exclusions, contact: &Contact<'_>, client: &Client<'_>, now: u64) -> Vec<Cause> {
    exclusions.find(contact, client, now).collect()
}

#[test]
fn a_server_is_known_by_all_that_it_was_met_at() {
    let (exclusions, wire, other) = (Exclusions::new([7; 16]), wire(), Arc::<str>::from("wan"));
    let (who, contact) = (client(1, "t13"), to(&wire, "A.example."));
    assert_eq!(exclusions.learn(Cause::ClientCertificate, &contact, &who, NOW), Learned::Now);
    assert_eq!((exclusions.len(), exclusions.changes()), (1, 1));
    for same in [contact, to(&wire, "a.EXAMPLE"), to(&wire, "a.example")] {
        assert_eq!(causes(&exclusions, &same, &client(2, "t12"), NOW), [Cause::ClientCertificate]);
    }
    let nobody: [Cause; 0] = [];
    for another in [
        to(&wire, "b.example"),
        to(&wire, "a.example.b"),
        Contact { name: None, ..contact },
        Contact { address: address(81), ..contact },
        Contact { port: 8443, ..contact },
        Contact { wire: &other, ..contact },
        Contact { vlan: [Some(7), None], ..contact },
    ] {
        assert_eq!(causes(&exclusions, &another, &who, NOW), nobody, "{another:?}");
    }
}

/// A client that offers little must not talk a server out of the inspection of others.
#[test]
fn what_a_server_does_not_speak_is_known_for_the_same_offer() {
    let (exclusions, wire) = (Exclusions::new([7; 16]), wire());
    let (contact, who) = (to(&wire, "a.example"), client(1, "t13"));
    assert_eq!(exclusions.learn(Cause::Unsupported, &contact, &who, NOW), Learned::Now);
    assert_eq!(causes(&exclusions, &contact, &client(9, "t12"), NOW), [Cause::Unsupported]);
    let other = Client { offer: Offer([2; 10]), ..who };
    assert!(causes(&exclusions, &contact, &other, NOW).is_empty());
}

#[test]
fn pinning_takes_three_clients_that_accept_the_ca_elsewhere() {
    let (exclusions, wire) = (Exclusions::new([7; 16]), wire());
    let (pinned, elsewhere) = (to(&wire, "pinned.example"), to(&wire, "www.example"));
    let learn = |who: &Client<'_>| exclusions.learn(Cause::Pinned, &pinned, who, NOW);
    let apps = [1, 2, 3, 4].map(|last| client(last, "t13app"));
    // They have accepted the CA nowhere: they have not been told of it.
    assert_eq!(apps.map(|app| learn(&app)), [Learned::Nothing; 4]);
    apps[..3].iter().for_each(|app| exclusions.note_accepted(&elsewhere, app));
    // Nor does another program of the same host count, or another host.
    assert_eq!(learn(&client(1, "t13browser")), Learned::Nothing);
    assert_eq!(learn(&apps[3]), Learned::Nothing);
    assert!(exclusions.is_empty());
    // One client, however often it says so, ends nobody's inspection; nor do two.
    assert_eq!([(); 9].map(|()| learn(&apps[0])), [Learned::NotYet; 9]);
    assert_eq!([(); 9].map(|()| learn(&apps[1])), [Learned::NotYet; 9]);
    assert_eq!(learn(&apps[0]), Learned::NotYet);
    assert!(causes(&exclusions, &pinned, &apps[0], NOW).is_empty() && exclusions.list(NOW).is_empty());
    assert_eq!([learn(&apps[2]), learn(&apps[2])], [Learned::Now, Learned::Before]);
    // For all clients with that fingerprint, and for no others.
    assert_eq!(causes(&exclusions, &pinned, &apps[3], NOW), [Cause::Pinned]);
    assert!(causes(&exclusions, &pinned, &client(1, "t13browser"), NOW).is_empty());
    // A client that has accepted it for this very server does not pin.
    let open = to(&wire, "open.example");
    exclusions.note_accepted(&open, &apps[0]);
    assert_eq!(exclusions.learn(Cause::Pinned, &open, &apps[0], NOW), Learned::Nothing);
}

/// Who has one IPv6 address has all of a network: they are one client.
#[test]
fn addresses_of_one_ipv6_network_are_one_client() {
    let (exclusions, wire) = (Exclusions::new([7; 16]), wire());
    let (pinned, elsewhere) = (to(&wire, "pinned.example"), to(&wire, "www.example"));
    let refuse = |address: &str| {
        let app = Client { address: address.parse().unwrap(), ..client(1, "t13app") };
        exclusions.note_accepted(&elsewhere, &app);
        exclusions.learn(Cause::Pinned, &pinned, &app, NOW)
    };
    for n in 1..9 {
        assert_eq!(refuse(&format!("2001:db8::{n}")), Learned::NotYet);
    }
    assert_eq!(refuse("2001:db8:0:1::1"), Learned::NotYet);
    assert_eq!(refuse("2001:db8:0:2::1"), Learned::Now);
}

#[test]
fn suspicion_passes_sooner_than_knowledge() {
    let (exclusions, wire) = (Exclusions::new([7; 16]), wire());
    let (contact, app) = (to(&wire, "pinned.example"), client(1, "t13app"));
    let learn = |last, now| {
        let app = client(last, "t13app");
        exclusions.note_accepted(&to(&wire, "www.example"), &app);
        exclusions.learn(Cause::Pinned, &contact, &app, now)
    };
    assert_eq!([learn(1, NOW), learn(2, NOW + 10), learn(3, NOW + 3700)], [Learned::NotYet; 3]);
    assert_eq!([learn(1, NOW + 3710), learn(2, NOW + 3720)], [Learned::NotYet, Learned::Now]);
    let end = NOW + 3720 + DEFAULT_LIFETIME;
    assert_eq!(causes(&exclusions, &contact, &app, end - 1), [Cause::Pinned]);
    assert_eq!(exclusions.list(end - 1).len(), 1);
    assert!(exclusions.list(end).is_empty() && causes(&exclusions, &contact, &app, end).is_empty());
    assert!(exclusions.is_empty(), "what has run out is forgotten when it is asked for");
    // And learned anew, from as many clients as before.
    assert_eq!(
        [learn(1, end), learn(2, end), learn(3, end)],
        [Learned::NotYet, Learned::NotYet, Learned::Now]
    );
    exclusions.set_lifetime(60);
    assert_eq!(exclusions.learn(Cause::ClientCertificate, &contact, &app, NOW), Learned::Now);
    assert!(causes(&exclusions, &contact, &app, NOW + 60).iter().all(|cause| *cause == Cause::Pinned));
}

#[test]
fn an_operator_names_by_name_by_address_or_by_both() {
    let wire = wire();
    let contact = to(&wire, "a.example");
    let (named, elsewhere) = (to(&wire, "b.example"), Contact { address: address(81), ..contact });
    let unnamed = Contact { name: None, ..contact };
    for (name, at, hits) in [
        (Some("A.example."), None, [true, false, true, false]),
        (None, Some(address(80)), [true, true, false, true]),
        (Some("a.example"), Some(address(80)), [true, false, false, false]),
    ] {
        let exclusions = Exclusions::new([7; 16]);
        let server = Server::named(name, at, 443).unwrap();
        let until = NOW + 10;
        let (cause, clients) = (Cause::Manual, Clients::Any);
        exclusions.add(Exclusion { cause, server, clients, since: NOW, until, engine: None });
        let found = [contact, named, elsewhere, unnamed]
            .map(|contact| causes(&exclusions, &contact, &client(1, ""), NOW) == [Cause::Manual]);
        assert_eq!(found, hits, "{name:?} {at:?}");
        let other_port = Contact { port: 8443, ..contact };
        assert!(causes(&exclusions, &other_port, &client(1, ""), NOW).is_empty());
        assert!(causes(&exclusions, &contact, &client(1, ""), until).is_empty());
    }
    assert_eq!(Server::named(None, None, 443), None);
    assert_eq!(Server::named(Some(&"a".repeat(254)), None, 443), None);
}

#[test]
fn what_is_listed_can_be_added_again_and_removed() {
    let (exclusions, wire) = (Exclusions::new([7; 16]), wire());
    let who = client(1, "t13app");
    let contact = to(&wire, "a.example");
    for cause in [Cause::ClientCertificate, Cause::Unsupported] {
        exclusions.learn(cause, &contact, &who, NOW);
    }
    for app in [1, 2, 3].map(|last| client(last, "t13app")) {
        exclusions.note_accepted(&to(&wire, "www.example"), &app);
        exclusions.learn(Cause::Pinned, &contact, &app, NOW);
    }
    let all = exclusions.list(NOW);
    assert_eq!(all.len(), 3);
    let again = Exclusions::new([7; 16]);
    // Once more changes nothing.
    all.iter().chain(&all).for_each(|exclusion| again.add(exclusion.clone()));
    assert_eq!((again.len(), again.list(NOW).len()), (3, 3));
    assert_eq!(causes(&again, &contact, &who, NOW).len(), 3);
    assert_eq!(again.remove(NOW, |exclusion| exclusion.cause == Cause::Pinned), 1);
    assert_eq!(causes(&again, &contact, &who, NOW), [Cause::ClientCertificate, Cause::Unsupported]);
    let changes = again.changes();
    assert_eq!(again.remove(NOW, |exclusion| exclusion.cause == Cause::Pinned), 0);
    assert_eq!(again.changes(), changes, "nothing has changed");
    assert_eq!(again.remove(NOW, |_| true), 2);
    assert!(again.is_empty() && causes(&again, &contact, &who, NOW).is_empty());
}

/// Whoever fills it loses the oldest; nothing else grows, and the filter does not rust.
#[test]
fn there_are_never_more_than_there_may_be() {
    let (exclusions, wire) = (Exclusions::new([7; 16]), wire());
    let who = client(1, "t13");
    let names: Vec<_> = (0..3 * CAPACITY).map(|n| format!("{n}.example")).collect();
    for name in &names {
        assert_eq!(exclusions.learn(Cause::ClientCertificate, &to(&wire, name), &who, NOW), Learned::Now);
        assert!(exclusions.len() <= CAPACITY);
    }
    assert_eq!(exclusions.evicted(), (names.len() - exclusions.len()) as u64);
    let known = |name: &String| !causes(&exclusions, &to(&wire, name), &who, NOW).is_empty();
    assert!(known(names.last().unwrap()) && !known(&names[0]));
    assert_eq!(names.iter().filter(|name| known(name)).count(), exclusions.len());
    // One client of one server with many offers has its own share of them.
    for n in 0..CAPACITY as u64 {
        let mut offer = [0; 10];
        offer[..8].copy_from_slice(&n.to_be_bytes());
        exclusions.learn(Cause::Unsupported, &to(&wire, "a"), &Client { offer: Offer(offer), ..who }, NOW);
    }
    assert!(exclusions.len() <= CAPACITY);
    assert!(exclusions.list(NOW).iter().any(|exclusion| exclusion.cause == Cause::ClientCertificate));
    exclusions.remove(NOW, |_| true);
    assert!(exclusions.is_empty() && !known(names.last().unwrap()));
}

/// The filter counts what comes and what goes: one that only counted what comes would be back at none some day.
#[test]
fn a_server_that_comes_and_goes_is_found_whenever_it_is_there() {
    let (exclusions, wire) = (Exclusions::new([7; 16]), wire());
    let (contact, who) = (to(&wire, "a.example"), client(1, "t13"));
    for _ in 0..u16::MAX {
        exclusions.learn(Cause::ClientCertificate, &contact, &who, NOW);
        exclusions.find(&contact, &who, NOW + DEFAULT_LIFETIME).for_each(drop);
    }
    assert!(exclusions.is_empty());
    exclusions.learn(Cause::ClientCertificate, &contact, &who, NOW);
    assert_eq!(causes(&exclusions, &contact, &who, NOW), [Cause::ClientCertificate]);
}

#[test]
fn names_that_are_too_long_are_not_learned() {
    let (exclusions, wire) = (Exclusions::new([7; 16]), wire());
    let long = "a".repeat(254);
    let learned = exclusions.learn(Cause::ClientCertificate, &to(&wire, &long), &client(1, ""), NOW);
    assert_eq!((learned, exclusions.len()), (Learned::Nothing, 0));
}

#[test]
fn offers_are_written_as_digits() {
    let offer = Offer([0, 1, 2, 3, 4, 5, 6, 7, 8, 255]);
    assert_eq!(offer.to_string(), "000102030405060708ff");
    assert_eq!(offer.to_string().parse(), Ok(offer));
    for wrong in ["", "00", "000102030405060708fg", "+00102030405060708ff", "é00102030405060708f"] {
        assert_eq!(wrong.parse::<Offer>(), Err(()), "{wrong}");
    }
}

/// What an engine of the fleet has learned of a server.
fn learned_elsewhere(name: &str) -> Exclusion {
    let (there, wire) = (Exclusions::new([8; 16]), wire());
    there.learn(Cause::ClientCertificate, &to(&wire, name), &client(1, "t13"), NOW);
    there.learned(NOW).remove(0)
}

#[test]
fn what_one_engine_has_learned_counts_at_another() {
    let (here, wire) = (Exclusions::new([7; 16]), wire());
    let (who, contact) = (client(2, "t12"), to(&wire, "a.example"));
    let exclusion = learned_elsewhere("a.example");
    assert_eq!(here.import("edge-2", exclusion.clone(), NOW), Heard::Now);
    assert_eq!(here.import("edge-2", exclusion.clone(), NOW), Heard::Before);
    assert_eq!(causes(&here, &contact, &who, NOW), [Cause::ClientCertificate]);
    let all = here.list(NOW);
    assert_eq!((all.len(), all[0].engine.as_deref()), (1, Some("edge-2")));
    // It is the other engine's to tell.
    assert!(here.learned(NOW).is_empty());
    // It has run out, or was taken back.
    let past = NOW + DEFAULT_LIFETIME;
    assert!(causes(&here, &contact, &who, past).is_empty() && here.list(past).is_empty());
    here.withdraw("edge-2", &exclusion);
    assert!(causes(&here, &contact, &who, NOW).is_empty() && here.is_empty());
    here.import("edge-2", exclusion.clone(), NOW);
    here.withdraw("edge-3", &exclusion);
    // Nothing of its own has changed: no file is written anew, and nothing is told again.
    assert_eq!((here.len(), here.changes()), (1, 0));
}

/// It may say what a flow could have taught this engine, and for as long.
#[test]
fn what_an_engine_may_not_say() {
    let (here, wire) = (Exclusions::new([7; 16]), wire());
    here.set_lifetime(3600);
    let exclusion = learned_elsewhere("a.example");
    let named = Server::named(Some("a.example"), None, 443).unwrap();
    for wrong in [
        Exclusion { cause: Cause::Manual, server: named.clone(), ..exclusion.clone() },
        Exclusion { server: named, ..exclusion.clone() },
        Exclusion { server: Server { address: None, ..exclusion.server.clone() }, ..exclusion.clone() },
        Exclusion { server: Server { place: None, ..exclusion.server.clone() }, ..exclusion.clone() },
        Exclusion { until: NOW, ..exclusion.clone() },
    ] {
        assert_eq!(here.import("edge-2", wrong.clone(), NOW), Heard::Nothing, "{wrong:?}");
    }
    let forever = Exclusion { until: u64::MAX, since: u64::MAX, ..exclusion };
    assert_eq!(here.import("edge-2", forever, NOW), Heard::Now);
    assert_eq!(here.list(NOW).iter().map(|e| (e.since, e.until)).collect::<Vec<_>>(), [(NOW, NOW + 3600)]);
    assert!(causes(&here, &to(&wire, "a.example"), &client(1, "t13"), NOW + 3600).is_empty());
}

#[test]
fn an_operator_stands_over_other_engines() {
    let (here, wire) = (Exclusions::new([7; 16]), wire());
    let (who, contact) = (client(2, "t12"), to(&wire, "a.example"));
    let exclusion = learned_elsewhere("a.example");
    here.import("edge-2", exclusion.clone(), NOW);
    assert_eq!(here.remove(NOW, |exclusion| exclusion.cause == Cause::ClientCertificate), 1);
    for engine in ["edge-2", "edge-3"] {
        assert_eq!(here.import(engine, exclusion.clone(), NOW + 1), Heard::Dismissed);
    }
    assert!(causes(&here, &contact, &who, NOW + 1).is_empty());
    // What this engine learns by itself counts all the same.
    here.learn(Cause::ClientCertificate, &contact, &who, NOW + 1);
    assert_eq!(causes(&here, &contact, &who, NOW + 1), [Cause::ClientCertificate]);
}

/// One that says more than it may takes no room from this engine or another one.
#[test]
fn an_engine_that_floods_is_held_to_its_share() {
    let (here, wire) = (Exclusions::new([7; 16]), wire());
    let who = client(1, "t13");
    here.learn(Cause::ClientCertificate, &to(&wire, "own.example"), &who, NOW);
    here.import("quiet", learned_elsewhere("quiet.example"), NOW);
    let exclusion = learned_elsewhere("x.example");
    let named = |n: u32| Server { name: Some(format!("{n}.example").into()), ..exclusion.server.clone() };
    let flood: Vec<_> = (0..4096).map(|n| Exclusion { server: named(n), ..exclusion.clone() }).collect();
    let heard = |heard| flood.iter().filter(|e| here.import("loud", (*e).clone(), NOW) == heard).count();
    assert_eq!(heard(Heard::Now), 16 * 64);
    assert_eq!((here.len(), here.holding(NOW), here.evicted()), (2 + 16 * 64, 2 + 16 * 64, 0));
    for known in ["own.example", "quiet.example"] {
        assert_eq!(causes(&here, &to(&wire, known), &who, NOW), [Cause::ClientCertificate], "{known}");
    }
}
