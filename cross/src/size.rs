//! `cargo x bench board-size`: how much flash and static RAM each board's image takes, beside its budget. This bench
//! needs no program but the compiler, so it is here and not with the others.

use crate::boards::Board;
use crate::error::Error;
use crate::shell::say;

/// Its name and summary, as with the other benches.
pub(crate) const BENCH: (&str, &str) = ("board-size", "flash and static RAM of each board's image");

/// What a board's image takes, or may take, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Everything that is loaded and has content.
    pub(crate) flash: u64,
    /// RAM that the linker knows of; the stack has the rest.
    pub(crate) ram: u64,
}

/// A board's name, what it takes and what it may take.
type Entry = (&'static str, Size, Size);

/// Builds all images and prints what they take. Returns whether all are within their budgets, and the line for programs.
pub(crate) fn bench() -> Result<(bool, String), Error> {
    let mut entries = Vec::new();
    let mut registry = 0;
    for board in Board::images() {
        board.build()?;
        entries.push((board.name, board.size()?, board.budget()?));
        registry = board.registry_ram()?.map_or(registry, |octets| registry.max(octets));
    }
    say(&format!("\n{:28} {:>9} {:>9} {:>12} {:>9}", "board", "flash", "at most", "static RAM", "at most"));
    for (name, size, budget) in &entries {
        let verdict = if is_met(size, budget) { "met" } else { "MISSED" };
        say(&format!(
            "{name:28} {:>9} {:>9} {:>12} {:>9}  {verdict}",
            size.flash, budget.flash, size.ram, budget.ram
        ));
    }
    let verdict = if registry <= REGISTRY { "met" } else { "MISSED" };
    say(&format!("of it for 64 nodes and their endpoints: {registry} octets, at most {REGISTRY}  {verdict}"));
    let line = json(&entries, registry);
    say(&line);
    Ok((is_ok(&entries, registry), line))
}

/// What a board may take of RAM for 64 nodes and their endpoints.
const REGISTRY: u64 = 16 * 1024;

fn is_ok(entries: &[Entry], registry: u64) -> bool {
    registry <= REGISTRY && entries.iter().all(|(_, size, budget)| is_met(size, budget))
}

fn is_met(size: &Size, budget: &Size) -> bool {
    size.flash <= budget.flash && size.ram <= budget.ram
}

fn json(entries: &[Entry], registry: u64) -> String {
    let object = |size: fn(&Entry) -> Size, registry: u64| {
        let mut fields: Vec<String> = entries
            .iter()
            .map(|entry| {
                let (name, Size { flash, ram }) = (entry.0.replace(['-', '.'], "_"), size(entry));
                format!("\"{name}_flash\": {flash}, \"{name}_ram\": {ram}")
            })
            .collect();
        fields.push(format!("\"registry_ram\": {registry}"));
        format!("{{{}}}", fields.join(", "))
    };
    format!(
        "{{\"bench\": \"{}\", \"figures\": {}, \"bars\": {}, \"ok\": {}}}",
        BENCH.0,
        object(|entry| entry.1, registry),
        object(|entry| entry.2, REGISTRY),
        is_ok(entries, registry)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Size = Size { flash: 20, ram: 10 };

    #[test]
    fn one_octet_too_many_misses_the_budget() {
        assert!(is_met(&MOST, &MOST));
        assert!(!is_met(&Size { flash: 21, ..MOST }, &MOST));
        assert!(!is_met(&Size { ram: 11, ..MOST }, &MOST));
    }

    #[test]
    fn the_last_line_is_json() {
        assert_eq!(
            json(&[("a-b.c", Size { flash: 1, ram: 2 }, MOST)], 3),
            "{\"bench\": \"board-size\", \"figures\": {\"a_b_c_flash\": 1, \"a_b_c_ram\": 2, \"registry_ram\": 3}, \
             \"bars\": {\"a_b_c_flash\": 20, \"a_b_c_ram\": 10, \"registry_ram\": 16384}, \"ok\": true}"
        );
    }
}
