"""The settings of every command: typed fields, and the command line that sets them."""

from imagelab.settings.command_line import parse, validate
from imagelab.settings.compare import CompareSettings, SelectionSettings
from imagelab.settings.configuration import configuration_key, configuration_of, deciding, with_younger
from imagelab.settings.cross_validate import CrossValidateSettings
from imagelab.settings.ensemble import EnsembleSettings
from imagelab.settings.evaluate import EvaluateSettings
from imagelab.settings.experiment import ExperimentSettings, of_record
from imagelab.settings.explain import ExplainSettings
from imagelab.settings.find_lr import FindLrSettings
from imagelab.settings.housekeeping import DoctorSettings, EmptyFeatureCacheSettings
from imagelab.settings.kinds import Kind, names_of_kind
from imagelab.settings.named_network import NamedNetworkSettings
from imagelab.settings.naming import name_of, shortest
from imagelab.settings.predict import PredictSettings
from imagelab.settings.promote import PromoteSettings, RollbackSettings
from imagelab.settings.reproduce import ReproduceSettings
from imagelab.settings.serve import ServeSettings
from imagelab.settings.train import TrainSettings
from imagelab.settings.tune import TuneSettings

__all__ = [
    "CompareSettings",
    "CrossValidateSettings",
    "DoctorSettings",
    "EmptyFeatureCacheSettings",
    "EnsembleSettings",
    "EvaluateSettings",
    "ExperimentSettings",
    "ExplainSettings",
    "FindLrSettings",
    "Kind",
    "NamedNetworkSettings",
    "PredictSettings",
    "PromoteSettings",
    "ReproduceSettings",
    "RollbackSettings",
    "SelectionSettings",
    "ServeSettings",
    "TrainSettings",
    "TuneSettings",
    "configuration_key",
    "configuration_of",
    "deciding",
    "name_of",
    "names_of_kind",
    "of_record",
    "parse",
    "shortest",
    "validate",
    "with_younger",
]
