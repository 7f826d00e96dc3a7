//! What is shown of a measurement: tables that are Markdown too, JSON, a plot.

mod plot;
mod run;
mod table;

pub use self::plot::svg;
pub use self::run::{RunReport, rounded};
pub use self::table::Table;
