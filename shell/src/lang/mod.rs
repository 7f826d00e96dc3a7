//! From text to statements. No IO.
//!
//! - [`split_statements`], [`open_at_end`]: several statements in one text, and those that go on
//! - [`parse`]: one statement; `sqlparser` reads SQL, [`ast`] says what of it is ours
//! - [`LangError`]: what is wrong, where, and what to write instead
//! - [`complete`](complete()): what may come next

pub mod ast;
mod audit;
mod complete;
mod dialect;
mod display;
mod error;
mod expression;
mod fleet;
mod literal;
mod places;
mod query;
mod rights;
mod split;
mod statement;
mod tokens;
mod write;

pub(crate) use complete::keywords;
pub use complete::{Completion, Names, complete};
pub use error::{LangError, Span, Start};
pub(crate) use error::{brief, nearest};
#[cfg(test)]
pub(crate) use expression::like_pattern;
pub(crate) use literal::time_ms;
pub(crate) use split::{BYTE_ORDER_MARK, Splitter, is_blank};
pub use split::{Open, Piece, open_at_end, split_statements};
pub use statement::parse;
