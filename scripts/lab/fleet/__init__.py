"""Three engines as one, between two routers with equal-cost paths: `scripts/fleet-test.sh` is the way in."""
