"""Data sets: where they come from, their formats, their prepared form as plain arrays. Needs no torch."""
