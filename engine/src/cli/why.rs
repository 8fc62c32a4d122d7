//! `wireglass why`: what a reason code means, and what to do about it.

use std::process::ExitCode;

use clap::Args;
use wireglass_core::reason::{
    Ambiguity, CaptureDrop, HttpOddity, InspectorOff, MirrorDrop, PacketDrop, PathMessage, PathOddity,
    PortDrop, Reason, VerdictFate,
};

/// What help desks do about the codes, for people and for this command.
const PAGE: &str = include_str!("../../../docs/troubleshooting.md");

const HELP: &str = "\
Examples:
  wireglass why cert.expired
  wireglass why cert.            all codes that begin with this
  wireglass why                  all codes

Reason codes appear in the log (`wireglass.reason`, `wireglass.verdict`, `anomaly.event`), in the metrics and in
`wireglass top`. docs/troubleshooting.md shows how to find the code of a user's connection.

Exit status: 0 known; 1 no such code, or it could not be written; 2 wrong usage.";

/// Explain a reason code of the log, and what to do about it.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct WhyArgs {
    /// The code, or its beginning [default: all codes]
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(super) fn run(args: &WhyArgs) -> ExitCode {
    let wanted = args.code.as_deref().unwrap_or_default();
    let answer = answer(wanted);
    if answer.is_empty() {
        errln!("wireglass: no reason code begins with {wanted:?}; `wireglass why` lists all codes");
        return ExitCode::FAILURE;
    }
    super::print(answer, ExitCode::SUCCESS)
}

/// All codes, and what each means in a sentence.
fn codes() -> Vec<(&'static str, &'static str)> {
    let mut codes: Vec<_> = Reason::ALL.iter().map(|why| (why.code(), why.help())).collect();
    codes.extend(PacketDrop::ALL.iter().map(|why| (why.code(), why.help())));
    codes.extend(PortDrop::ALL.iter().map(|why| (why.code(), why.help())));
    codes.extend(PathMessage::ALL.iter().map(|why| (why.code(), why.help())));
    codes.extend(MirrorDrop::ALL.iter().map(|why| (why.code(), why.help())));
    codes.extend(CaptureDrop::ALL.iter().map(|why| (why.code(), why.help())));
    codes.extend(VerdictFate::ALL.iter().map(|why| (why.code(), why.help())));
    codes.extend(InspectorOff::ALL.iter().map(|why| (why.code(), why.help())));
    codes.extend(PathOddity::ALL.iter().map(|why| (why.code(), why.help())));
    codes.extend(HttpOddity::ALL.iter().map(|why| (why.code(), why.help())));
    codes.extend(Ambiguity::ALL.iter().map(|why| (why.code(), why.help())));
    codes
}

/// One code in full; of several, a line each; nothing where there is none.
fn answer(wanted: &str) -> String {
    let codes = codes();
    if let Some((code, help)) = codes.iter().find(|(code, _)| *code == wanted) {
        let more = section(code).map(|text| format!("\n{text}\n")).unwrap_or_default();
        return format!("{code}: {help}\n{more}");
    }
    let found = codes.iter().filter(|(code, _)| code.starts_with(wanted));
    found.map(|(code, help)| format!("{code:<28}{help}\n")).collect()
}

/// What the page says below the heading that names this code.
fn section(code: &str) -> Option<&'static str> {
    let text = PAGE.split("\n### ").skip(1).find_map(|section| {
        let (heading, text) = section.split_once('\n')?;
        heading.split(", ").any(|each| each == code).then_some(text)
    })?;
    // Up to the next chapter.
    Some(text.split("\n## ").next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headings() -> impl Iterator<Item = &'static str> {
        PAGE.lines().filter_map(|line| line.strip_prefix("### ")).flat_map(|heading| heading.split(", "))
    }

    #[test]
    fn the_page_has_each_end_of_a_flow_once_and_no_other_codes() {
        for reason in Reason::ALL {
            assert_eq!(headings().filter(|code| *code == reason.code()).count(), 1, "{reason}");
        }
        let codes = codes();
        for heading in headings() {
            assert!(codes.iter().any(|(code, _)| *code == heading), "{heading}");
            let text = section(heading).unwrap_or_default();
            assert!(text.starts_with("**Means:** ") && text.contains("\n**Do:** "), "{heading}: {text}");
        }
    }

    #[test]
    fn links_within_the_page_lead_somewhere() {
        // As GitHub makes them of headings.
        let anchor = |heading: &str| -> String {
            let kept = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        };
        let anchors: Vec<_> = PAGE.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
        let links: Vec<_> =
            PAGE.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect();
        assert!(links.len() > 10);
        let lost: Vec<_> = links.iter().filter(|link| !anchors.contains(link)).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    #[test]
    fn one_code_several_and_none() {
        let one = answer("cert.expired");
        assert!(one.starts_with("cert.expired: A certificate") && one.contains("**Do:**"), "{one}");
        assert!(!one.contains("###"), "{one}");
        let last = answer("tls.keys_used_up");
        assert!(last.contains("**Do:**") && !last.contains("engine.internal"), "{last}");
        assert_eq!(answer("port.").lines().count(), PortDrop::ALL.len());
        assert_eq!(answer("").lines().count(), codes().len());
        assert_eq!(answer("no.such"), "");
    }
}
