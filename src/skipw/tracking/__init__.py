"""The journal: runs, grids and registered models in MLflow. The only place that imports mlflow.

Files under ``data/`` are the truth; what stands in MLflow can be rebuilt from them (``make register``).
"""
