"""What must be said about where the data came from, wherever a person sees numbers."""

from __future__ import annotations

__all__ = ["announcement"]

NOTES = {
    "har-simulator": "simulated stick figures stand in for the paper's HAR set, which could not be had",
    "har-mall": "another set of 2D poses, of people in a mall, stands in for the paper's HAR set",
    "imdb-snippets": "short movie-review snippets stand in for the IMDB reviews, which could not be had",
}


def announcement(data_source: str) -> str | None:
    """A sentence for a substitute, to be shown in red; None where the data are the wanted ones.

    Args:
        data_source: as recorded in meta.json.
    """
    if data_source in NOTES:
        return f"Substitute data ({data_source}): {NOTES[data_source]}. These are not the paper's numbers."
    if data_source.startswith("folder:"):
        name = data_source.removeprefix("folder:")
        return f"Own data (folder {name}) in the place of the paper's set. These are not the paper's numbers."
    return None
