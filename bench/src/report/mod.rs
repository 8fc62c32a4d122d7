//! Figures for people: a table, a comparison, plots.

mod compare;
mod plot;
mod table;

pub(crate) use compare::comparison;
pub(crate) use plot::plots;
pub(crate) use table::{HEAD, line, machine};
