"""Optuna studies: a search for models whose operating points are Pareto-optimal. The only place that imports optuna.

``space`` says what is searched, ``plan`` what a study is, ``storage`` and ``study`` where it lives, ``trial`` and
``hopeless`` what one trial does, ``worker`` runs trials, ``search`` runs workers, ``outcome``, ``files`` and ``page``
tell what was found.
"""
