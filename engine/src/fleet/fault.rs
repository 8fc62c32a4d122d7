//! Why an engine cannot have a generation, for others to read.

use crate::config::Faults;
use crate::reload::ReloadError;

use super::schema::FaultRecord;

/// Longest text: the value of its key has a bound.
const MAX_TEXT: usize = 1000;

impl From<&ReloadError> for FaultRecord {
    fn from(error: &ReloadError) -> Self {
        let mut record = match error {
            ReloadError::Faults(faults) => of_faults(faults),
            ReloadError::NoSuchWire { file, rule, wire } => Self {
                file: Some(within(file)),
                line: None,
                key: Some(format!("rule[{rule}].wire")),
                text: format!("this engine has no wire {wire:?}"),
            },
            other => Self { text: other.to_string(), ..Self::default() },
        };
        record.text.truncate(record.text.floor_char_boundary(MAX_TEXT));
        record
    }
}

fn of_faults(faults: &Faults) -> FaultRecord {
    let Some(first) = faults.list.first() else { return FaultRecord::default() };
    let more = match faults.list.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    FaultRecord {
        file: Some(within(first.file.as_ref().unwrap_or(&faults.file))),
        line: first.line.map(|line| line as u64),
        key: first.key.clone(),
        text: format!("{}{more}", first.message),
    }
}

/// A file of a generation as the operator knows it: without the folder that the engine has it in.
fn within(file: &str) -> String {
    let in_generation = file.split_once("/generations/").and_then(|(_, rest)| {
        let (number, file) = rest.split_once('/')?;
        number.parse::<u64>().is_ok().then_some(file)
    });
    in_generation.unwrap_or(file).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Fault;

    #[test]
    fn the_operator_sees_the_file_that_was_pushed() {
        let fault = Fault {
            file: Some("/var/lib/wireglass/fleet/generations/7/policy.toml".into()),
            line: Some(3),
            key: Some("rule[1].action".into()),
            message: "no".into(),
        };
        let faults = Faults { file: "wire.toml".into(), list: vec![fault.clone(), fault] };
        let record = FaultRecord::from(&ReloadError::Faults(faults));
        assert_eq!(record.to_string(), "policy.toml:3: rule[1].action: no (and 1 more)");
        let own = Fault { file: None, line: None, key: None, message: "é".repeat(1000) };
        let record =
            FaultRecord::from(&ReloadError::Faults(Faults { file: "/e/w.toml".into(), list: vec![own] }));
        assert_eq!((record.file.as_deref(), record.text.len()), (Some("/e/w.toml"), MAX_TEXT));
    }
}
