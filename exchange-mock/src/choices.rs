//! Choices that are written as one word: in options, in control requests, in output.

/// A choice reads as it prints; a bad one is told which are good. `$what` goes on after "is not".
macro_rules! named {
    ($type:ident, $what:literal, $($name:literal => $variant:ident),+) => {
        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    other => Err(format!(
                        "`{}` is not {}: expected {}",
                        other.chars().take(40).collect::<String>(), $what, [$($name),+].join(" or ")
                    )),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $name,)+ })
            }
        }
    };
}

pub(crate) use named;

/// What a new login does to the token that was alive before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NewLogin {
    /// The old token dies at once, as several sources report of one api key (kite.md 1.5).
    #[default]
    Kills,
    /// Both live.
    Keeps,
}

named!(NewLogin, "what a new login does", "kills" => Kills, "keeps" => Keeps);
