"""From the body of a request to the response: MLflow's formats in and out, and errors of one sentence.

MLflow's own scoring server (`invocations`) parses bodies and writes predictions.
"""

import json
import traceback
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import scoring_server
from starlette.responses import JSONResponse, Response

from imagelab.console import say
from imagelab.serving.served_version import ServedVersion

LONGEST_SENTENCE = 200
FAILED = "the model failed; the server's log says why"
FORMATS = "the body is not one of MLflow's input formats"
SENTENCES = {  # words of MLflow's messages, which are long and repeat the request, and what is said instead
    "a valid JSON formatted": "the body is not valid JSON",
    "input fields": "the body is JSON with exactly one of: inputs, instances, dataframe_split, dataframe_records",
    "inhomogeneous": "rows of an array differ in length, or files and arrays are mixed",
    "maximum number of dimension": "the array has too many dimensions",
    "a valid JSON-formatted": FORMATS,
    "UTF-8 encoded": "the body is not UTF-8",
    "Failed to parse input as": "the body is not a table of the format that the Content-Type says",
    "content types": "the Content-Type is application/json, text/csv or application/vnd.apache.parquet",
}


class RefusedError(MlflowException):
    """What is wrong in one sentence, which MLflow's additions to the message do not touch."""

    def __init__(self, sentence: str, error_code: int = INVALID_PARAMETER_VALUE) -> None:
        super().__init__(sentence, error_code)
        self.sentence = sentence


class ScoringModel:
    """A served version as `scoring_server.invocations` wants a model."""

    def __init__(self, version: ServedVersion, most: int) -> None:
        self.version, self.most = version, most
        self.metadata = version.model.pyfunc.metadata

    def predict(self, data: Any, params: Any = None) -> Any:
        try:
            return self.version.answer(data, checked_params(params), self.most)
        except MlflowException as error:
            raise RefusedError(error.message) from None
        except Exception as error:
            say(traceback.format_exc())
            raise RefusedError(FAILED, INTERNAL_ERROR) from error


def checked_params(params: Any) -> dict[str, Any]:
    if params is not None and not isinstance(params, dict):
        raise RefusedError("params is a dictionary, such as {top_k: 3}")
    if unknown := set(params or {}) - {"top_k"}:
        raise RefusedError(f"params knows top_k only, not {str(sorted(unknown)[0])[:30]!r}")
    return params or {}


def predict(version: ServedVersion, body: bytes, content_type: str, most: int) -> Response:
    """MLflow's predictions for a request, or what is wrong with it in one sentence."""
    headers = {"X-Model-Version": version.name.version}
    try:
        result = scoring_server.invocations(body, plain(content_type), ScoringModel(version, most), None)
        if result.status == 200:
            return Response(result.response, media_type=result.mimetype, headers=headers)
        return error_response(result.status, sentence_of(result.response), headers=headers)
    except MlflowException as error:
        sentence = getattr(error, "sentence", None) or sentence_of(str(error.message))
        return error_response(error.get_http_status_code(), sentence, error.error_code, headers)
    except Exception:  # of MLflow's parser: errors of the model are caught above
        return error_response(400, FORMATS, headers=headers)


def plain(content_type: str) -> str:
    """In the one spelling that MLflow knows: `Application/JSON; charset="utf-8"` means the same."""
    return content_type.lower().replace('"', "").rstrip("; ")


def sentence_of(message: str) -> str:
    """The part of one of MLflow's messages that says what is wrong."""
    for words, sentence in SENTENCES.items():
        if words in message:
            return sentence
    for end in ("\n", " IMPORTANT", ". Error", " Error:", ". Ensure", " Got {"):
        message = message.split(end, maxsplit=1)[0]
    return message.removeprefix("Invalid input. ")[:LONGEST_SENTENCE].strip()


def error_response(
    status: int, message: str, code: str = "BAD_REQUEST", headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error as MLflow writes it."""
    message = message.encode(errors="replace").decode()  # half a surrogate pair, of the request, cannot be sent
    return JSONResponse({"error_code": code, "message": message}, status, headers)


def explain(version: ServedVersion, body: bytes) -> Response:
    """The answer to one image, the image as the network sees it, and the same with where the network looked."""
    try:
        image = version.model.served.pixels([json.loads(body)["image"]])[0]
    except MlflowException as error:
        return error_response(400, str(error.message))
    except Exception:
        return error_response(400, 'the body is not JSON of the form {"image": base64 text}')
    try:
        return JSONResponse({**version.explain(image), "version": version.name.version})
    except Exception:
        say(traceback.format_exc())
        return error_response(500, FAILED, "INTERNAL_ERROR")
