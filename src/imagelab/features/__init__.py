"""Features of a frozen backbone: computed once, kept on disk, reused by every run that wants the same ones."""

from imagelab.features.feature_cache import FeatureSeconds
from imagelab.features.feature_source import FeatureSource, WantedFeatures
from imagelab.features.feature_split import Features
from imagelab.features.teacher import Teacher, taught_images

__all__ = ["FeatureSeconds", "FeatureSource", "Features", "Teacher", "WantedFeatures", "taught_images"]
