//! Flows of one worker by their addresses.
