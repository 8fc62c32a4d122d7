//! Sets of rules, compiled.

use std::path::Path;
use std::time::Duration;

use boreal::compiler::CompilerParams;
use boreal::scanner::{EvaluatedRule, ScanCallbackResult, ScanError, ScanEvent, ScanParams};
use boreal::{Compiler, Scanner};

/// What rule sets for mail gateways and file scanners take for given, beside what YARA knows. Of these a body has the first three.
const EXTERNAL: [&str; 5] = ["filename", "filepath", "extension", "filetype", "owner"];
/// Tags of a rule that are told.
const MAX_TAGS: usize = 16;

/// Takes files of rules.
#[derive(Debug)]
pub struct RuleSetBuilder {
    compiler: Compiler,
}

/// Compiled rules. A clone of them is cheap.
#[derive(Clone, Debug)]
pub struct RuleSet {
    scanner: Scanner,
}

/// What a rule has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// Its name.
    pub(super) rule: Box<str>,
    pub(super) tags: Box<[Box<str>]>,
}

/// The rules took longer than they may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TimedOut;

impl RuleSetBuilder {
    /// With no rules yet.
    pub fn new() -> Self {
        let mut compiler = Compiler::new();
        compiler.set_params(CompilerParams::default().disable_includes(true));
        for name in EXTERNAL {
            // It fails where a name is defined twice.
            compiler.define_symbol(name, "");
        }
        Self { compiler }
    }

    /// Adds the rules of a file. Names are the file's own: rules of two files may have the same one, and cannot refer to each other.
    ///
    /// # Errors
    /// What is wrong with the text: `FILE:LINE:COLUMN: ...`.
    pub fn add(&mut self, file: &Path, text: &str) -> Result<(), String> {
        let name = file.display().to_string();
        let added = self.compiler.add_rules_str_in_namespace(text, &name);
        added.map(drop).map_err(|error| {
            let said = error.to_string();
            // The compiler's own name for what is no file.
            let said = said.strip_prefix("mem:").unwrap_or(&said);
            let said = said.lines().next().unwrap_or_default().replace(": error: ", ": ");
            format!("{name}:{said}")
        })
    }

    /// The rules, which may look at one body for so long.
    pub fn build(self, timeout: Duration) -> RuleSet {
        let mut scanner = self.compiler.finalize();
        // Nothing of a body is told, so nothing of it is copied.
        scanner.set_scan_params(ScanParams::default().timeout_duration(Some(timeout)).match_max_length(0));
        RuleSet { scanner }
    }
}

impl Default for RuleSetBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl RuleSet {
    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.scanner.rules().count()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first rule that a body matches. `path`: of the URL that it comes from, without the query.
    pub(super) fn look(&self, body: &[u8], path: &str) -> Result<Option<Match>, TimedOut> {
        let mut scanner = self.scanner.clone();
        let name = path.rsplit('/').next().unwrap_or_default();
        let extension = name.rfind('.').map_or("", |dot| &name[dot..]);
        for (symbol, value) in EXTERNAL.into_iter().zip([name, path, extension]) {
            // All of them are defined, as texts.
            let _ = scanner.define_symbol(symbol, value);
        }
        let mut found = None;
        let scanned = scanner.scan_mem_with_callback(body, |event| match event {
            ScanEvent::RuleMatch(rule) => {
                found = Some(told(&self.scanner, &rule));
                ScanCallbackResult::Abort
            }
            _ => ScanCallbackResult::Continue,
        });
        match (found, scanned) {
            (Some(found), _) => Ok(Some(found)),
            (None, Err(ScanError::Timeout)) => Err(TimedOut),
            // Nothing else happens to what is scanned in memory.
            (None, _) => Ok(None),
        }
    }
}

fn told(scanner: &Scanner, rule: &EvaluatedRule<'_>) -> Match {
    let tags = rule.tags.iter().take(MAX_TAGS).map(|tag| scanner.get_string_symbol(*tag).into());
    Match { rule: rule.name.into(), tags: tags.collect() }
}
