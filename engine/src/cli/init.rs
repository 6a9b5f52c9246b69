//! `nirantar init`: a commented `nirantar.toml` for whoever comes from one of the guides.
//!
//! Promises: what stands there already is not overwritten without `--force`, and with it the file is never half written;
//! nobody is asked anything where there is no terminal; what is written is a good configuration as soon as the credentials
//! are where its comments say.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{CliError, print};
use crate::token::store::folder_of;

/// Write a commented nirantar.toml for one of the guides
///
/// The comments say what the guide promised, what holds since April 2026, and what to do, step by step. Credentials are not
/// asked for and not written: the comments say where they belong. A file that is there already stays as it is, unless
/// --force is given.
///
/// Examples:
///   nirantar init --guide fyers
///   nirantar init --guide upstox --file conf/nirantar.toml
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct InitArgs {
    /// Which guide you come from; asked for on a terminal if it is not given
    #[arg(long, value_name = "NAME")]
    guide: Option<Guide>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "nirantar.toml")]
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// The guides people come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Guide {
    /// FYERS: a refresh at 08:45 on weekdays, the token in .env
    Fyers,
    /// Zerodha: a login a day, a watched .env
    Zerodha,
    /// Zerodha: a login script at 07:45
    ZerodhaCron,
    /// Upstox: a token manager with JSON and Streamlit secrets
    Upstox,
    /// Kite: broker-config.json with an hourly check
    KiteConfig,
}

impl Guide {
    const fn text(self) -> &'static str {
        match self {
            Self::Fyers => include_str!("init/guides/fyers.toml"),
            Self::Zerodha => include_str!("init/guides/zerodha.toml"),
            Self::ZerodhaCron => include_str!("init/guides/zerodha-cron.toml"),
            Self::Upstox => include_str!("init/guides/upstox.toml"),
            Self::KiteConfig => include_str!("init/guides/kite-config.toml"),
        }
    }

    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn names() -> String {
        Self::value_variants().iter().map(|guide| guide.name()).collect::<Vec<_>>().join(", ")
    }
}

/// Writes it.
pub(super) fn init(arguments: &InitArgs) -> Result<ExitCode, CliError> {
    let guide = match arguments.guide {
        Some(guide) => guide,
        // A script or a container must never hang on a question that nobody sees.
        None if io::stdin().is_terminal() && io::stderr().is_terminal() => ask()?,
        None => return Err(CliError::NoGuide { known: Guide::names() }),
    };
    let file = &arguments.file;
    let refuse = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => CliError::FileThere { file: file.clone() },
        _ => CliError::NotWritten { file: file.clone(), reason: error },
    };
    write(file, guide.text(), arguments.force).map_err(refuse)?;
    print::say(&format!(
        "wrote {file} for the guide {}\nnext: do what its first lines say, then: nirantar doctor --config {file}",
        guide.name(),
        file = file.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes the whole text or nothing.
fn write(file: &Path, text: &str, force: bool) -> io::Result<()> {
    let mut whole = tempfile::NamedTempFile::new_in(folder_of(file))?;
    whole.write_all(text.as_bytes())?;
    whole.as_file().sync_all()?;
    let placed = if force { whole.persist(file) } else { whole.persist_noclobber(file) };
    placed.map(drop).map_err(|error| error.error)
}

/// Asks on the terminal.
fn ask() -> Result<Guide, CliError> {
    let mut questions = String::from("Which guide do you come from?\n");
    for guide in Guide::value_variants() {
        let help = guide.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        questions.push_str(&format!("  {:<13} {}\n", guide.name(), help.unwrap_or_default()));
    }
    print::complain(questions.trim_end());
    let mut line = String::new();
    // A line of a terminal; whatever it is, it becomes a guide or an error.
    let read = io::stdin().lock().read_line(&mut line);
    let found = read.ok().and_then(|_| Guide::from_str(line.trim(), true).ok());
    found.ok_or_else(|| CliError::NoGuide { known: Guide::names() })
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::Secret;

    use super::*;
    use crate::config::{Config, Outside};
    use crate::token::store::{StoreError, StorePlace, Stored};

    /// The world once the reader has done what the comments say.
    struct Done;

    impl Outside for Done {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "NIRANTAR_TELEGRAM_TOKEN").then(|| "123456:hunter2".to_owned())
        }

        fn stored(&self, _: &StorePlace, _: &str) -> Result<Stored, StoreError> {
            let (user_id, api_key) = (Some("AB1234".to_owned()), Some("key".to_owned()));
            Ok(Stored { user_id, api_key, api_secret: Some(Secret::new("hunter2")), ..Stored::default() })
        }

        fn real_path(&self, store: &Path) -> PathBuf {
            store.to_owned()
        }
    }

    fn read(text: &str) -> Config {
        Config::read(text, Path::new("conf/nirantar.toml"), &Done).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn every_guide_is_a_good_configuration_as_it_stands_and_with_every_line_switched_on() {
        for guide in Guide::value_variants() {
            let account = read(guide.text()).accounts.remove(0);
            assert!(!account.loopback && !account.paper_only, "{guide:?} is for the real broker");
            let on: String = guide
                .text()
                .lines()
                .map(|line| {
                    format!(
                        "{}\n",
                        line.strip_prefix('#')
                            .filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
                            .unwrap_or(line)
                    )
                })
                .collect();
            assert!(read(&on).accounts.remove(0).paper_only, "{guide:?}");
        }
    }

    #[test]
    fn every_guide_says_what_was_promised_what_holds_and_what_to_do() {
        for guide in Guide::value_variants() {
            let text = guide.text();
            for words in
                ["# What the guide promised:", "# What holds since 1 April 2026:", "# What to do:", "chmod 600"]
            {
                assert!(text.contains(words), "{guide:?}: {words}");
            }
            assert!(text.starts_with(&format!("# Written by `nirantar init --guide {}`.", guide.name())), "{guide:?}");
            assert!(text.lines().all(|line| line.len() <= 120), "{guide:?}");
        }
    }

    #[test]
    fn each_guide_keeps_the_hours_its_users_know() {
        let account = |guide: Guide| read(guide.text()).accounts.remove(0);
        let fyers = account(Guide::Fyers);
        assert_eq!((fyers.renew_at.len(), fyers.renew_at[0].to_string().as_str()), (1, "08:45:00"));
        let cron = account(Guide::ZerodhaCron);
        assert_eq!((cron.renew_at[0].to_string().as_str(), cron.renew_days.len()), ("07:45:00", 7));
        assert!(cron.external_command.is_some());
        let upstox = account(Guide::Upstox);
        assert_eq!((upstox.renew_margin.as_secs(), upstox.check_every.map(|every| every.as_secs())), (300, Some(300)));
        assert_eq!(upstox.stores.len(), 2, "JSON first, Streamlit's secrets as the fallback");
        let kite = account(Guide::KiteConfig);
        assert_eq!((kite.renew_margin.as_secs(), kite.check_every.map(|every| every.as_secs())), (5_400, Some(3_600)));
        assert!(kite.store.ends_with("broker-config.json"));
    }

    #[test]
    fn a_file_that_is_there_stays_unless_it_is_forced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nirantar.toml");
        std::fs::write(&file, "mine").unwrap();
        let arguments = |force| InitArgs { guide: Some(Guide::Fyers), file: file.clone(), force };
        let error = init(&arguments(false)).unwrap_err().to_string();
        assert!(error.contains("--force") && error.contains("nirantar.toml"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        init(&arguments(true)).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), Guide::Fyers.text());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
