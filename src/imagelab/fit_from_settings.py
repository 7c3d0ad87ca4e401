"""What trains, from typed settings: the split of the images, the data with what is trained on them, and how."""

from imagelab.data import load_dataset
from imagelab.data.split import SplitSpec
from imagelab.distillation import load_teacher
from imagelab.settings import ExperimentSettings, TrainSettings
from imagelab.training import FitPlan, Fitter, choose_dtype_policy


def split_spec(settings: ExperimentSettings) -> SplitSpec:
    return SplitSpec(**settings.arguments_of(SplitSpec))


def load_fitter(settings: ExperimentSettings, split: SplitSpec | None = None, with_test: bool = True) -> Fitter:
    """The data set of the settings, split as they say if not otherwise, and what trains on it, with its teacher.

    Args:
        with_test: see `Fitter`.
    """
    dataset = load_dataset(settings.dataset, **settings.arguments_of(load_dataset))
    address = settings.teacher if isinstance(settings, TrainSettings) else None
    split = split or split_spec(settings)
    teacher = load_teacher(address, dataset, split) if address else None
    return Fitter(dataset, split, settings.feature_cache_limit, with_test, teacher)


def plan_of(settings: ExperimentSettings, dtype_policy: str | None = None) -> FitPlan:
    """How complete settings are trained; without `dtype_policy` the number format is chosen for this machine."""
    policy = dtype_policy or choose_dtype_policy(settings.mixed_precision)
    return FitPlan(dtype_policy=policy, **settings.arguments_of(FitPlan))
