//! Why a statement did not do what it says.

use std::io;

use crate::backend::BackendError;
use crate::lang::LangError;

/// Why a statement ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The statement itself is wrong; nothing was asked of the fleet. `LangError::render` draws the place.
    #[error(transparent)]
    Language(#[from] LangError),
    /// A rule of the statement was broken by the data: INSERT found keys. The sentence says what was done and what was not.
    #[error("{message}")]
    Refused {
        /// What happened.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The fleet did not do it.
    #[error("{source}{}", done.as_deref().map_or(String::new(), |done| format!("; {done}")))]
    Fleet {
        /// Why.
        source: BackendError,
        /// What had been done before, where that matters.
        done: Option<String>,
    },
    /// It was cancelled. What it had done is done.
    #[error("cancelled{}", done.as_deref().map_or(String::new(), |done| format!("; {done}")))]
    Cancelled {
        /// What had been done before, where that matters.
        done: Option<String>,
    },
    /// Its output could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl ShellError {
    /// The whole text for people: the sentence, the place in `source` with a caret, the hint.
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        match self {
            Self::Language(error) => error.render(source),
            Self::Refused { message, hint: Some(hint) } => format!("error: {message}\nhint: {hint}\n"),
            other => format!("error: {other}\n"),
        }
    }

    /// The same with what had been done before it, where that is of use: the others say all of it themselves.
    pub(super) fn after(self, said: String) -> Self {
        match self {
            Self::Fleet { source, .. } => Self::Fleet { source, done: Some(said) },
            Self::Cancelled { done: None } => Self::Cancelled { done: Some(said) },
            Self::Cancelled { done: Some(in_flight) } => Self::Cancelled { done: Some(format!("{said}; {in_flight}")) },
            other => other,
        }
    }

    /// True when it was cancelled or its reader went away.
    #[must_use]
    pub fn is_stop(&self) -> bool {
        match self {
            Self::Cancelled { .. } => true,
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }
}

impl From<BackendError> for ShellError {
    fn from(source: BackendError) -> Self {
        Self::Fleet { source, done: None }
    }
}
