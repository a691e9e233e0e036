"""Intervals, simultaneous inference, claims and power: the numbers behind every verdict."""
