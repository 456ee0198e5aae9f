//! The boards that the firmware is built for: their names, targets and features, and how an image comes about.

use std::path::PathBuf;
use std::process::Command;

use crate::elf::Executable;
use crate::error::Error;
use crate::shell;
use crate::size::Size;
use crate::workspace;

/// A board.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Board {
    /// Its name, which is that of its feature, too.
    pub(crate) name: &'static str,
    target: &'static str,
    features: &'static str,
    /// Where its RAM begins (see its `memory.x`).
    ram: u64,
    /// Whether QEMU has it, under the same name.
    pub(crate) is_emulated: bool,
}

impl Board {
    /// All; the first is what is meant where nobody says.
    pub(crate) const ALL: [Self; 4] = [
        Self {
            name: "mps2-an386",
            target: "thumbv7em-none-eabihf",
            features: "mps2-an386,qemu,steering,tls-psk",
            ram: 0x2000_0000,
            is_emulated: true,
        },
        Self {
            name: "mps2-an385",
            target: "thumbv7m-none-eabi",
            features: "mps2-an385,qemu,steering,tls-psk",
            ram: 0x2000_0000,
            is_emulated: true,
        },
        Self {
            name: "stm32h743-nucleo",
            target: "thumbv7em-none-eabihf",
            features: "stm32h743-nucleo,steering,tls-psk",
            ram: 0x2400_0000,
            is_emulated: false,
        },
        Self {
            name: "w5500-evb-pico2",
            target: "thumbv8m.main-none-eabihf",
            features: "w5500-evb-pico2,steering,tls-psk",
            ram: 0x2000_0000,
            is_emulated: false,
        },
    ];

    /// The tested board's image without steering, which has bars of its own. It takes the other one's place where it is built.
    pub(crate) const WITHOUT_STEERING: Self = Self {
        name: "mps2-an386.without-steering",
        target: Self::ALL[0].target,
        features: "mps2-an386,qemu,tls-psk",
        ram: Self::ALL[0].ram,
        is_emulated: true,
    };

    /// All images that have to stay within a budget.
    pub(crate) fn images() -> impl Iterator<Item = &'static Self> {
        const WITHOUT: &Board = &Board::WITHOUT_STEERING;
        const BOARDS: &[Board] = &Board::ALL;
        // First, so that the whole one is what is left to be run.
        core::iter::once(WITHOUT).chain(BOARDS)
    }

    /// The board that the command line calls so.
    pub(crate) fn named(name: &str) -> Result<&'static Self, Error> {
        const BOARDS: &[Board] = &Board::ALL;
        BOARDS.iter().find(|board| board.name == name).ok_or_else(|| {
            let names: Vec<_> = BOARDS.iter().map(|board| board.name).collect();
            Error::new(format!("there is no board `{name}`"), format!("there are {}", names.join(", ")))
        })
    }

    /// The emulated board that the command line calls so.
    pub(crate) fn emulated(name: &str) -> Result<&'static Self, Error> {
        const BOARDS: &[Board] = &Board::ALL;
        BOARDS.iter().find(|board| board.name == name && board.is_emulated).ok_or_else(|| {
            let names: Vec<_> =
                BOARDS.iter().filter(|board| board.is_emulated).map(|board| board.name).collect();
            Error::new(format!("QEMU has no board `{name}` for us"), format!("it has {}", names.join(", ")))
        })
    }

    /// Cargo's `subcommand` on the firmware for this board, with what the stable compiler knows.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        self.command([subcommand, "--release"], self.features)
    }

    /// The build of its image as it is shipped.
    pub(crate) fn shipping(&self) -> Command {
        self.shipping_with(self.features)
    }

    fn shipping_with(&self, features: &str) -> Command {
        let mut command = self.command(["--config", "shipped.toml", "build", "--profile", PROFILE], features);
        // What that file says is not stable yet.
        command.env("RUSTC_BOOTSTRAP", "1");
        command
    }

    fn command<const N: usize>(&self, start: [&str; N], features: &str) -> Command {
        let selection =
            ["--locked", "--no-default-features", "--features", features, "--target", self.target];
        let mut command = shell::cargo(start.iter().chain(&selection));
        // In its own folder, so that cargo takes the firmware's configuration.
        command.current_dir(workspace::root().join("firmware"));
        command
    }

    /// Where its image is once it is built, and kept by [`Self::keep`]: in a folder of its own.
    pub(crate) fn image(&self) -> PathBuf {
        self.target_dir().join("boards").join(self.name).join(IMAGE)
    }

    /// Takes what cargo has just built to the board's own folder: the next board of the same target takes its place.
    pub(crate) fn keep(&self) -> Result<PathBuf, Error> {
        let built = self.target_dir().join(self.target).join(PROFILE).join(IMAGE);
        let image = self.image();
        let folder = image.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder.and_then(|()| std::fs::copy(&built, &image)).map_err(|error| {
            Error::new(
                format!("cannot copy {} to {}: {error}", built.display(), image.display()),
                "free some space or correct the folder's rights",
            )
        })?;
        Ok(image)
    }

    fn target_dir(&self) -> PathBuf {
        workspace::target_dir_of(&workspace::root().join("firmware"))
    }

    /// Builds its image; where that is.
    pub(crate) fn build(&self) -> Result<PathBuf, Error> {
        self.build_with(None)
    }

    /// The same with other features beside its own, as cargo's command line takes them.
    pub(crate) fn build_with(&self, other: Option<&str>) -> Result<PathBuf, Error> {
        let features = other.map_or(self.features.to_owned(), |other| format!("{},{other}", self.features));
        if !shell::run(&mut self.shipping_with(&features))?.success {
            return Err(Error::new("the firmware does not build", "the compiler's messages above say why"));
        }
        self.keep()
    }

    /// What its image, built before, takes of the board.
    pub(crate) fn size(&self) -> Result<Size, Error> {
        let image = Executable::open(&self.image())?;
        let size = Size { flash: image.flash(), ram: image.static_ram(self.ram) };
        if size.ram == 0 {
            return Err(Error::new(
                format!("the image for {} is empty", self.name),
                "the linker's script was not applied: see firmware/build.rs",
            ));
        }
        Ok(size)
    }

    /// What its image, built before, takes of RAM for 64 nodes and their endpoints; `None` if it does not steer.
    pub(crate) fn registry_ram(&self) -> Result<Option<u64>, Error> {
        Ok(Executable::open(&self.image())?.symbol_size("REGISTRY_MEMORY"))
    }

    /// Its [`Self::size`]; an error if that is more than its budget.
    pub(crate) fn size_within_budget(&self) -> Result<Size, Error> {
        let (size, budget) = (self.size()?, self.budget()?);
        for (what, taken, most) in [("flash", size.flash, budget.flash), ("ram", size.ram, budget.ram)] {
            if taken > most {
                return Err(Error::new(
                    format!(
                        "the image for {} takes {taken} octets of {what}, {most} are its budget",
                        self.name
                    ),
                    format!("make it smaller, or change {BUDGET} and say why"),
                ));
            }
        }
        Ok(size)
    }

    /// How much it may take.
    pub(crate) fn budget(&self) -> Result<Size, Error> {
        let text = workspace::read(&workspace::root().join(BUDGET))?;
        let most = |what| {
            budget(&text, self.name, what).ok_or_else(|| {
                Error::new(
                    format!("{BUDGET} has no {what} for {}", self.name),
                    format!("add a section [{}] with flash and ram", self.name),
                )
            })
        };
        Ok(Size { flash: most("flash")?, ram: most("ram")? })
    }
}

/// The number called `what` in the section `board`.
fn budget(text: &str, board: &str, what: &str) -> Option<u64> {
    let section = format!("[{board}]");
    text.lines()
        .skip_while(|line| line.trim() != section)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == what)
        .and_then(|(_, number)| number.trim().replace('_', "").parse().ok())
}

const BUDGET: &str = "firmware/budget.toml";
const IMAGE: &str = "fingerpost-firmware";
/// That of `firmware/shipped.toml`.
const PROFILE: &str = "shipped";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_board_is_a_feature_of_the_firmware() {
        let features = workspace::features(&workspace::root().join("firmware/Cargo.toml")).unwrap();
        for board in &Board::ALL {
            assert!(board.features.split(',').all(|feature| features.iter().any(|known| known == feature)));
            assert!(board.features.split(',').any(|feature| feature == board.name));
        }
    }

    #[test]
    fn every_board_has_a_budget_of_its_own() {
        for board in Board::images() {
            let budget = board.budget().unwrap();
            assert!(budget.flash > budget.ram);
        }
        let text = "[a]\nflash = 1_000\n\n[b]\nram = 7\n";
        assert_eq!(budget(text, "a", "flash"), Some(1_000));
        assert_eq!(budget(text, "a", "ram"), None);
        assert_eq!(budget(text, "b", "ram"), Some(7));
    }

    #[test]
    fn a_board_that_is_not_there_is_an_error_that_names_those_that_are() {
        for find in [Board::emulated, Board::named] {
            assert_eq!(find("mps2-an386").unwrap().name, "mps2-an386");
            let error = find("mps3").unwrap_err().to_string();
            assert!(error.contains("mps3") && error.contains("mps2-an386"), "{error}");
        }
    }
}
