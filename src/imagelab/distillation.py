"""The teacher of a training: found, refused where it does not fit, loaded."""

from imagelab.data.dataset import Dataset
from imagelab.data.split import SplitSpec
from imagelab.errors import SettingsError
from imagelab.features import Teacher
from imagelab.registry.named_model import NamedModel, find_named_model
from imagelab.settings import TrainSettings
from imagelab.tracking import split_of, use_tracking_store
from imagelab.tracking.resume import refuse_early as refuse_training_early


def refuse_early(settings: TrainSettings) -> None:
    """Refuse what cannot be trained, resumed or taught, before anything is started that takes seconds.

    Raises:
        SettingsError, TrackingError: with the reason.
    """
    refuse_training_early(settings)
    with_fixed_teacher(settings)


def with_fixed_teacher(settings: TrainSettings) -> TrainSettings:
    """The settings with the teacher by the address of its model, which stays what it is when an alias moves.

    Raises:
        SettingsError: there is no such network, or it has learned from other images than the student may.
    """
    if not settings.teacher:
        return settings
    named = named_by(settings.teacher)
    if named.dataset != settings.dataset:
        raise SettingsError(f"teacher={settings.teacher}: has learned {named.dataset}, not {settings.dataset}")
    refuse_other_images(settings.teacher, named, SplitSpec(**settings.arguments_of(SplitSpec)))
    return settings.model_copy(update={"teacher": named.uri})


def load_teacher(address: str, dataset: Dataset, split: SplitSpec) -> Teacher:
    """The teacher in memory.

    Args:
        split: of the training that it is for.

    Raises:
        SettingsError: it is not there, or has learned from other images.
        RegistryError: its files are missing or damaged.
    """
    named = named_by(address)
    if (digest := named.run.data.tags.get("dataset_digest")) != dataset.digest:
        raise SettingsError(
            f"teacher={address}: was trained on {named.dataset} with digest {digest}; this machine has {dataset.digest}"
        )
    refuse_other_images(address, named, split)
    return Teacher(named.model_id, named.load().compute)


def refuse_other_images(address: str, named: NamedModel, split: SplitSpec) -> None:
    """A teacher that knows the images by which the student is chosen would make these too easy."""
    if (own := split_of(use_tracking_store(), named.run)) != split:
        raise SettingsError(
            f"teacher={address}: has learned from other images ({own.in_words()}; this training: {split.in_words()})"
        )


def named_by(address: str) -> NamedModel:
    """The network behind a run id or an address in MLflow."""
    is_address = ":" in address
    try:
        return find_named_model(use_tracking_store(), None if is_address else address, address if is_address else None)
    except SettingsError as error:
        _, _, reason = str(error).partition(": ")
        raise SettingsError(f"teacher={address}: {reason}") from error
