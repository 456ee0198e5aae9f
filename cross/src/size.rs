//! `cargo x bench board-size`: how much flash and static RAM each board's image takes, beside what it may. This bench
//! needs no program but the compiler, so it is here and not with the others.

use crate::boards::Board;
use crate::error::Error;
use crate::shell::say;

/// Its name and summary, as with the other benches.
pub(crate) const BENCH: (&str, &str) = ("board-size", "flash and static RAM of each board's image");

/// What a board's image takes, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Everything that is loaded and has content.
    pub(crate) flash: u64,
    /// What the linker knows of; the stack has the rest.
    pub(crate) static_ram: u64,
}

/// Builds all images and prints what they take. Returns whether the bars are met, and the line for programs.
pub(crate) fn bench() -> Result<(bool, String), Error> {
    let mut sizes = Vec::new();
    for board in &Board::ALL {
        board.build()?;
        // At once: another board of the same target takes its place.
        sizes.push((board.name, board.size()?));
    }
    let [bar, ..] = &sizes[..] else { return Err(no_board()) };
    say(&format!("\n{:20} {:>10} {:>12}", "board", "flash", "static RAM"));
    for (name, size) in &sizes {
        say(&format!("{name:20} {:>10} {:>12}", size.flash, size.static_ram));
    }
    say(&format!("{:20} {:>10} {:>12}   for {}", "at most", MOST.flash, MOST.static_ram, bar.0));
    let is_met = meets(bar.1);
    say(if is_met { "met" } else { "MISSED" });
    let line = json(&sizes, bar.0, is_met);
    say(&line);
    Ok((is_met, line))
}

/// The bars, of the board that is tested, with everything in and room for 1,000 RRsets.
const MOST: Size = Size { flash: 256 << 10, static_ram: 144 << 10 };

fn meets(size: Size) -> bool {
    size.flash <= MOST.flash && size.static_ram <= MOST.static_ram
}

fn json(sizes: &[(&str, Size)], bar: &str, is_met: bool) -> String {
    let entries = |name: &str, size: &Size| {
        let name = name.replace('-', "_");
        format!("\"{name}_flash\": {}, \"{name}_static_ram\": {}", size.flash, size.static_ram)
    };
    let figures: Vec<String> = sizes.iter().map(|(name, size)| entries(name, size)).collect();
    format!(
        "{{\"bench\": \"{}\", \"figures\": {{{}}}, \"bars\": {{{}}}, \"ok\": {is_met}}}",
        BENCH.0,
        figures.join(", "),
        entries(bar, &MOST)
    )
}

fn no_board() -> Error {
    Error::new("there is no board to build for", "cross/src/boards.rs lists them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_octet_too_many_misses_the_bar() {
        assert!(meets(MOST));
        assert!(!meets(Size { flash: MOST.flash + 1, ..MOST }));
        assert!(!meets(Size { static_ram: MOST.static_ram + 1, ..MOST }));
    }

    #[test]
    fn the_last_line_is_json() {
        let size = Size { flash: 1, static_ram: 2 };
        assert_eq!(
            json(&[("a-b", size)], "a-b", true),
            "{\"bench\": \"board-size\", \"figures\": {\"a_b_flash\": 1, \"a_b_static_ram\": 2}, \
             \"bars\": {\"a_b_flash\": 262144, \"a_b_static_ram\": 147456}, \"ok\": true}"
        );
    }
}
