"""Judges of an answer, or of its beginning. Pure: no I/O, no clock."""
