"""Features of a frozen backbone: computed once, kept on disk, reused by every run that wants the same ones."""

from imagelab.features.feature_cache import FeatureSeconds
from imagelab.features.feature_source import FeatureSource, WantedFeatures
from imagelab.features.feature_split import Features

__all__ = ["FeatureSeconds", "FeatureSource", "Features", "WantedFeatures"]
