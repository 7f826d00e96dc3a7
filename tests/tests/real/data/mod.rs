//! Data in, data out: files, pipes and what commands print, with a fleet behind them.

mod commands;
mod export;
mod import;
mod machine;
mod outputs;
mod shell;
