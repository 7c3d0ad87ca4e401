"""Image-classification experiments on MLflow; start reading at experiment.py."""
