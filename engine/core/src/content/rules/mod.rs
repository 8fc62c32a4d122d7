//! The filter that asks rules about requests and responses, and does as they say.

mod judge;
