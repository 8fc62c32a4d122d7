//! The two CAs of an installation: made by `wireglass ca init`, described by `wireglass ca show`.
