"""Stateless load: lossless rates by frame size, SYN floods, fragments, malformed frames."""
