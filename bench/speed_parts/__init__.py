"""The sections of bench/speed.py: each measures contenders side by side, in turn, in one process."""
