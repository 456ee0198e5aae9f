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
    for board in &Board::ALL {
        board.build()?;
        entries.push((board.name, board.size()?, board.budget()?));
    }
    say(&format!("\n{:20} {:>9} {:>9} {:>12} {:>9}", "board", "flash", "at most", "static RAM", "at most"));
    for (name, size, budget) in &entries {
        let verdict = if is_met(size, budget) { "met" } else { "MISSED" };
        say(&format!(
            "{name:20} {:>9} {:>9} {:>12} {:>9}  {verdict}",
            size.flash, budget.flash, size.ram, budget.ram
        ));
    }
    let line = json(&entries);
    say(&line);
    Ok((entries.iter().all(|(_, size, budget)| is_met(size, budget)), line))
}

fn is_met(size: &Size, budget: &Size) -> bool {
    size.flash <= budget.flash && size.ram <= budget.ram
}

fn json(entries: &[Entry]) -> String {
    let object = |size: fn(&Entry) -> Size| {
        let fields: Vec<String> = entries
            .iter()
            .map(|entry| {
                let (name, Size { flash, ram }) = (entry.0.replace('-', "_"), size(entry));
                format!("\"{name}_flash\": {flash}, \"{name}_ram\": {ram}")
            })
            .collect();
        format!("{{{}}}", fields.join(", "))
    };
    format!(
        "{{\"bench\": \"{}\", \"figures\": {}, \"bars\": {}, \"ok\": {}}}",
        BENCH.0,
        object(|entry| entry.1),
        object(|entry| entry.2),
        entries.iter().all(|(_, size, budget)| is_met(size, budget))
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
            json(&[("a-b", Size { flash: 1, ram: 2 }, MOST)]),
            "{\"bench\": \"board-size\", \"figures\": {\"a_b_flash\": 1, \"a_b_ram\": 2}, \
             \"bars\": {\"a_b_flash\": 20, \"a_b_ram\": 10}, \"ok\": true}"
        );
    }
}
