"""The web application: MLflow's scoring formats on MLflow's paths, and what its own server lacks.

Requests are parsed and answers written by MLflow's own scoring server (`invocations`). Around it: errors of one
sentence, limits, a token, health that is measured, figures for Prometheus, and a page to try the model on.
"""

import asyncio
import hmac
import json
import os
import time
import traceback
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib import resources
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import scoring_server
from mlflow.version import VERSION
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from imagelab.console import say
from imagelab.quiet import start_keras
from imagelab.serving.following import FollowingModel, Loaded
from imagelab.serving.metrics import Metrics
from imagelab.settings import ServeSettings, validate
from imagelab.tracking import use_tracking_store

THREADS = 64  # requests that are parsed, decoded or waiting for their batch at the same time
LONGEST_CHECK = 10.0  # seconds after which a model that does not answer is not healthy
LONGEST_SENTENCE = 200
SETTINGS = "IMAGELAB_SERVE"  # where `create` finds the settings, as JSON
PAGE_POLICY = (
    "default-src 'none'; img-src data: blob:; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
)


class Refused(MlflowException):
    """What is wrong in one sentence, which MLflow's additions to the message do not touch."""

    def __init__(self, sentence: str, error_code: int = INVALID_PARAMETER_VALUE) -> None:
        super().__init__(sentence, error_code)
        self.sentence = sentence


class Asked:
    """A loaded version as `scoring_server.invocations` wants a model."""

    def __init__(self, loaded: Loaded, most: int) -> None:
        self.loaded, self.most = loaded, most
        self.metadata = loaded.pyfunc.metadata

    def predict(self, data: Any, params: Any = None) -> Any:
        try:
            return self.loaded.answer(data, checked_params(params), self.most)
        except MlflowException as error:
            raise Refused(error.message) from None
        except Exception as error:
            say(traceback.format_exc())
            raise Refused("the model failed; the server's log says why", INTERNAL_ERROR) from error


def checked_params(params: Any) -> dict[str, Any]:
    if params is not None and not isinstance(params, dict):
        raise Refused("params is a dictionary, such as {top_k: 3}")
    if unknown := set(params or {}) - {"top_k"}:
        raise Refused(f"params knows top_k only, not {str(sorted(unknown)[0])[:30]!r}")
    return params or {}


def answer(loaded: Loaded, body: bytes, content_type: str, most: int) -> Response:
    """MLflow's answer to a request, or what is wrong with it in one sentence."""
    headers = {"X-Model-Version": loaded.version.version}
    try:
        result = scoring_server.invocations(body, content_type, Asked(loaded, most), None)
        if result.status == 200:
            return Response(result.response, media_type=result.mimetype, headers=headers)
        return refusal(result.status, sentence_of(result.response), headers=headers)
    except MlflowException as error:
        sentence = getattr(error, "sentence", None) or sentence_of(str(error.message))
        return refusal(error.get_http_status_code(), sentence, error.error_code, headers)
    except Exception:  # of MLflow's parser: what the model does is caught above
        return refusal(400, "the body is not one of MLflow's input formats", headers=headers)


def sentence_of(message: str) -> str:
    """The beginning of one of MLflow's messages, which repeat the request."""
    if "valid JSON" in message:
        return "the body is not valid JSON"
    for end in ("\n", " IMPORTANT", ". Error", " Error:", " exception:"):
        message = message.split(end, maxsplit=1)[0]
    return message[:LONGEST_SENTENCE].strip()


def refusal(
    status: int, message: str, code: str = "BAD_REQUEST", headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse({"error_code": code, "message": message}, status, headers)


class Server:
    """The endpoints around a model that follows its alias."""

    def __init__(self, settings: ServeSettings, following: FollowingModel, metrics: Metrics) -> None:
        self.settings, self.following, self.metrics = settings, following, metrics
        self.pool = ThreadPoolExecutor(THREADS, "imagelab-request")
        self.token = settings.token_file.read_text().strip() if settings.token_file else None
        self.page = (resources.files("imagelab.serving") / "page.html").read_text()

    def application(self) -> Starlette:
        routes: dict[str, tuple[str, Callable[..., Any]]] = {
            "/": ("GET", self.show_page),
            "/ping": ("GET", self.health),
            "/health": ("GET", self.health),
            "/version": ("GET", self.version),
            "/metrics": ("GET", self.figures),
            "/invocations": ("POST", self.invocations),
            "/explain": ("POST", self.explain),
        }
        return Starlette(
            routes=[Route(path, endpoint, methods=[method]) for path, (method, endpoint) in routes.items()],
            lifespan=self.lifespan,
        )

    @asynccontextmanager
    async def lifespan(self, application: Starlette) -> AsyncIterator[None]:
        self.following.follow(self.settings.poll_seconds)
        yield
        self.following.end()
        self.pool.shutdown()

    async def invocations(self, request: Request) -> Response:
        """Predictions, in MLflow's formats."""
        return await self.counted(request, answer, request.headers.get("content-type", ""), self.settings.batch_limit)

    async def explain(self, request: Request) -> Response:
        """{"image": base64 text} to the prediction, and a picture of what the network looked at."""
        return await self.counted(request, explanation)

    async def counted(self, request: Request, work: Callable[..., Response], *arguments: Any) -> Response:
        """Run `work` on the loaded version and the body in a thread, if the request may be answered at all."""
        started = time.perf_counter()
        body = None if self.is_stranger(request) else await self.body_of(request)
        if body is None:
            response = self.turned_away(request)
        else:
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self.pool, work, self.following.loaded, body, *arguments)
        self.metrics.requests.labels(response.status_code).inc()
        self.metrics.seconds.observe(time.perf_counter() - started)
        return response

    def is_stranger(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode()
        return self.token is not None and not hmac.compare_digest(given, f"Bearer {self.token}".encode())

    def turned_away(self, request: Request) -> Response:
        if self.is_stranger(request):
            return refusal(401, "this server needs the header Authorization: Bearer TOKEN", "UNAUTHENTICATED")
        return refusal(413, f"the request is larger than {self.settings.body_limit:g} MiB")

    async def body_of(self, request: Request) -> bytes | None:
        """The body; None as soon as it turns out larger than allowed."""
        limit = self.settings.body_limit * 2**20
        if int(request.headers.get("content-length", 0)) > limit:
            return None
        chunks, size = [], 0
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                return None
        return b"".join(chunks)

    async def health(self, request: Request) -> Response:
        """Status 200 only if the model answers now."""
        asked = asyncio.get_running_loop().run_in_executor(self.pool, self.following.loaded.is_alive)
        try:
            alive = await asyncio.wait_for(asked, LONGEST_CHECK)
        except Exception:
            alive = False
        return Response("\n", media_type="application/json") if alive else refusal(503, "the model does not answer")

    async def version(self, request: Request) -> Response:
        """Which version answers, and whether following the alias is in trouble."""
        if self.is_stranger(request):
            return self.turned_away(request)
        following = self.following
        return JSONResponse({**asdict(following.loaded.version), "mlflow": VERSION, "trouble": following.trouble})

    async def figures(self, request: Request) -> Response:
        if self.is_stranger(request):
            return self.turned_away(request)
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def show_page(self, request: Request) -> Response:
        return HTMLResponse(self.page, headers={"Content-Security-Policy": PAGE_POLICY})


def explanation(loaded: Loaded, body: bytes) -> Response:
    """The answer to one image, the image as the network sees it, and the same with what it looked at."""
    try:
        asked = json.loads(body)
        image = loaded.served.pixels([asked["image"]])[0]
    except MlflowException as error:
        return refusal(400, str(error.message))
    except Exception:
        return refusal(400, 'the body is not JSON of the form {"image": base64 text}')
    return JSONResponse({**loaded.explain(image), "version": loaded.version.version})


def create() -> Starlette:
    """The application of one process, with the settings in the environment; the model is loaded first."""
    settings = validate(ServeSettings, json.loads(os.environ[SETTINGS]))
    start_keras()
    metrics = Metrics()
    following = FollowingModel(use_tracking_store(), settings.registered_model, settings.alias, metrics)
    return Server(settings, following, metrics).application()
