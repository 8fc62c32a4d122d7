"""Checks of scripts/nic.sh on machines that are only folders: no card, no root, nothing of this machine is touched."""
