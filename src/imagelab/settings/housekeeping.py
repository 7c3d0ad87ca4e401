"""The settings of commands that look after this machine; they have none yet, so that a mistyped one is refused."""

from pydantic import BaseModel, ConfigDict


class DoctorSettings(BaseModel):
    """Tell what this machine has of what the project can use, and what to type next."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EmptyFeatureCacheSettings(BaseModel):
    """Delete what is kept of frozen backbones and of teachers on disk: a run that wants it computes it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")
