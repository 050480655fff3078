"""From camera frames to actions: a pose network, then SkipW; a frame that SkipW skips costs neither (paper, 4.3).

Needs the extra ``pose``. ``docs/actions.md`` shows how to use it.
"""
