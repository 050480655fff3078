"""Grids of operating points, Pareto fronts, switching, patterns and the figures of the report."""
