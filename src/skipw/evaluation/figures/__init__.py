"""Figures: pictures for print (matplotlib) and the interactive page of a front (plotly)."""
