//! Frames: parsing, classifying, building.
