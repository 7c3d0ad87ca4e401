"""The settings of the server that answers for a registered model."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from imagelab.mlflow_command import from_folder_typed_in
from imagelab.settings.registered import Alias, RegisteredModelSettings


def readable_token(path: Path) -> Path:
    path = from_folder_typed_in(path)
    try:
        words = path.read_text().split()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        words = []
    if len(words) != 1:
        raise ValueError("must be a file that holds the token, a word without blanks, and nothing else")
    return path


class ServeSettings(RegisteredModelSettings):
    """Answer requests with the version of a registered model that an alias names, and follow the alias."""

    alias: Alias = Field("champion", description="alias to follow")
    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="address to listen on; 0.0.0.0: all")
    port: int = Field(5001, ge=1, le=65535, description="port to listen on")
    workers: int = Field(1, ge=1, le=64, description="processes that answer, each with the model in memory")
    poll_seconds: float = Field(2, ge=0.1, le=3600, description="seconds between looks at where the alias points")
    body_limit: float = Field(32, gt=0, le=4096, description="MiB that a request may have")
    batch_limit: int = Field(256, ge=1, le=100_000, description="images that a request may have")
    token_file: Annotated[Path, AfterValidator(readable_token)] | None = Field(
        None,
        description="file with a token; requests then need the header Authorization: Bearer TOKEN",
        examples=["the path of a file"],
    )
