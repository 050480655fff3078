"""``skipw serve``: MLflow's scoring app on one model, with limits, checks, readiness and metrics around it."""
