//! Figures for people: a table, a comparison, plots.

mod compare;
mod pairs;
mod plot;
mod table;

pub(crate) use compare::comparison;
pub(crate) use pairs::line as pair_line;
pub(crate) use plot::plots;
pub(crate) use table::{HEAD, line, machine};
