"""`mlflow run . -e empty_feature_cache`: delete the features of frozen backbones that earlier runs left on disk."""

from pydantic import BaseModel, ConfigDict

from imagelab.command import command


class EmptyFeatureCacheSettings(BaseModel):
    """Delete the features of frozen backbones on disk; a run that wants them computes them again."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def empty(settings: EmptyFeatureCacheSettings) -> str:
    from imagelab.features.room import empty_cache, feature_cache_folder
    from imagelab.tracking import leave_wrapper

    leave_wrapper("delete")  # nothing of this belongs into a run
    return f"{empty_cache() / 2**30:.2f} GiB freed in {feature_cache_folder()}"


if __name__ == "__main__":
    command("empty_feature_cache", EmptyFeatureCacheSettings, empty)
