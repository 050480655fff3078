"""Data sets: where they come from, their formats, and their prepared form as plain arrays. No torch, no lightning."""
