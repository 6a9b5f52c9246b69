//! The ways a token file is written in the field, each on a real file.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// A `.env` with that token, and with what else may stand in one.
pub fn env(token: &str) -> String {
    format!("# Kite\nZERODHA_API_KEY=nirantar\nZERODHA_ACCESS_TOKEN='{token}'\nOTHER=1\n")
}

/// Writes a store of the kind its name says, whole, with that token and with what else may stand in one.
pub fn token(store: &Path, token: &str) {
    let text = match store.extension().and_then(|ending| ending.to_str()) {
        Some("json") => format!("{{\"access_token\": \"{token}\", \"other\": 1}}\n"),
        Some("toml") => format!("title = 'mine'\n\n[zerodha]\naccess_token = \"{token}\"\n"),
        _ => env(token),
    };
    fs::create_dir_all(store.parent().unwrap()).unwrap();
    fs::write(store, text).unwrap();
}

/// A way of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A new file beside it, renamed over it: most editors, and every careful program.
    EditorRename,
    /// Emptied, then filled in two steps: `>` in a shell, and every careless program.
    TruncateThenWrite,
    /// Overwritten without truncation.
    InPlace,
    /// The path is a symlink that is pointed elsewhere.
    SymlinkSwap,
    /// Removed first, made anew.
    FileAppearing,
    /// Written under a second name in another folder, as from outside a bind mount: no event reaches the watcher.
    BindMount,
}

impl Way {
    /// Makes the path one that can be written this way later. `outside` is another folder.
    pub fn prepare(self, path: &Path, outside: &Path) {
        match self {
            Self::SymlinkSwap if path.exists() => {
                let first = path.with_file_name("first.env");
                fs::rename(path, &first).unwrap();
                link(&first, path);
            }
            Self::BindMount => fs::hard_link(path, outside.join("host.env")).unwrap(),
            _ => {}
        }
    }

    /// Writes a token.
    pub fn write(self, path: &Path, outside: &Path, token: &str) {
        let text = env(token);
        match self {
            Self::EditorRename => {
                let swap = path.with_file_name(".env.swp");
                fs::write(&swap, text).unwrap();
                fs::rename(&swap, path).unwrap();
            }
            Self::TruncateThenWrite => {
                let mut file = File::create(path).unwrap();
                let (head, tail) = text.split_at(text.len() / 2);
                file.write_all(head.as_bytes()).unwrap();
                file.sync_all().unwrap();
                file.write_all(tail.as_bytes()).unwrap();
            }
            Self::InPlace => in_place(path, &text),
            Self::SymlinkSwap => {
                let target = path.with_file_name(format!("{}.env", fresh(path)));
                fs::write(&target, text).unwrap();
                let swap = path.with_file_name("swap.link");
                link(&target, &swap);
                fs::rename(&swap, path).unwrap();
            }
            Self::FileAppearing => {
                if path.exists() {
                    fs::remove_file(path).unwrap();
                }
                fs::write(path, text).unwrap();
            }
            Self::BindMount => in_place(&outside.join("host.env"), &text),
        }
    }
}

/// Shorter content leaves no old bytes behind.
fn in_place(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_len(u64::try_from(text.len()).unwrap()).unwrap();
}

fn fresh(path: &Path) -> usize {
    fs::read_dir(path.parent().unwrap()).unwrap().count()
}

#[cfg(unix)]
fn link(target: &Path, link: &Path) {
    std::os::unix::fs::symlink(target, link).unwrap();
}
