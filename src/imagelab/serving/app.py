"""The web application: MLflow's request formats on MLflow's paths, and what its own server lacks.

These are limits, a token, a health check that lets the model answer, metrics for Prometheus, and a page to try it.
"""

import asyncio
import hmac
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from importlib import resources
from typing import Any

from mlflow.version import VERSION
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from imagelab.serving.alias_watcher import AliasWatcher
from imagelab.serving.prometheus import ServingMetrics
from imagelab.serving.protocol import error_response, explain, predict
from imagelab.serving.server import SETTINGS
from imagelab.serving.workers import worker_of_several
from imagelab.settings import ServeSettings, validate
from imagelab.tracking import use_tracking_store

THREADS = 64  # requests that are parsed, decoded or waiting for their batch at the same time
LONGEST_BODY = 60.0  # seconds that a request may take to arrive
LONGEST_CHECK = 10.0  # seconds after which a model that does not answer is not healthy
PAGE_POLICY = (
    "default-src 'none'; img-src data: blob:; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
)


class Server:
    """The endpoints around a model that follows its alias.

    Attributes:
        body_bytes: bytes of all request bodies that are in memory.
    """

    def __init__(self, settings: ServeSettings, watcher: AliasWatcher, metrics: ServingMetrics) -> None:
        self.settings, self.watcher, self.metrics = settings, watcher, metrics
        self.pool = ThreadPoolExecutor(THREADS, "imagelab-request")
        self.health_pool = ThreadPoolExecutor(1, "imagelab-health")  # a server that is only busy is healthy
        self.body_bytes = 0
        self.token = settings.token_file.read_text().strip() if settings.token_file else None
        self.page = (resources.files("imagelab.serving") / "page.html").read_text()

    def application(self) -> Starlette:
        routes: dict[str, tuple[str, Callable[..., Any]]] = {
            "/": ("GET", self.show_page),
            "/ping": ("GET", self.health),
            "/health": ("GET", self.health),
            "/version": ("GET", self.version),
            "/metrics": ("GET", self.show_metrics),
            "/invocations": ("POST", self.invocations),
            "/explain": ("POST", self.explain),
        }
        return Starlette(
            routes=[Route(path, endpoint, methods=[method]) for path, (method, endpoint) in routes.items()],
            lifespan=self.lifespan,
        )

    @asynccontextmanager
    async def lifespan(self, application: Starlette) -> AsyncIterator[None]:
        self.watcher.watch(self.settings.poll_seconds)
        yield
        self.watcher.end()
        self.pool.shutdown()
        self.health_pool.shutdown(wait=False)

    async def invocations(self, request: Request) -> Response:
        """Predictions, in MLflow's formats."""
        content_type = request.headers.get("content-type", "")
        return await self.respond(request, predict, content_type, self.settings.batch_limit)

    async def explain(self, request: Request) -> Response:
        """{"image": base64 text} to the prediction, and a picture of where the network looked."""
        return await self.respond(request, explain)

    async def respond(self, request: Request, work: Callable[..., Response], *arguments: Any) -> Response:
        """Run `work` on the current version and the body, unless the request is refused before; count and time it."""
        started = time.perf_counter()
        if self.is_unauthorized(request):
            response = unauthorized_response()
        else:
            response = await self.run(request, work, *arguments)
        self.metrics.requests.labels(response.status_code).inc()
        self.metrics.seconds.observe(time.perf_counter() - started)
        return response

    async def run(self, request: Request, work: Callable[..., Response], *arguments: Any) -> Response:
        body = bytearray()
        try:
            if refusal := await self.receive(request, body):
                return refusal
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.pool, work, self.watcher.current, bytes(body), *arguments)
        finally:
            self.body_bytes -= len(body)

    async def receive(self, request: Request, body: bytearray) -> Response | None:
        """Fill `body`; an error response as soon as it turns out too large, too slow or too much for the memory."""
        limit = self.settings.body_limit * 2**20
        too_large = error_response(413, f"the request is larger than {self.settings.body_limit:g} MiB")
        if int(request.headers.get("content-length", 0)) > limit:
            return too_large
        with suppress(ClientDisconnect):  # nobody is there to read the response to half a request
            try:
                async with asyncio.timeout(LONGEST_BODY):
                    async for chunk in request.stream():
                        body += chunk
                        self.body_bytes += len(chunk)
                        if len(body) > limit:
                            return too_large
                        if self.body_bytes > THREADS * limit:
                            return error_response(
                                503, "the server has as many requests as it can take; try again later"
                            )
            except TimeoutError:
                return error_response(408, f"the request has not arrived within {LONGEST_BODY:g} s")
        return None

    def is_unauthorized(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip(" ").encode("latin-1"), (self.token or "").encode())  # as they came
        return self.token is not None and not (is_right and scheme.lower() == "bearer")

    async def health(self, request: Request) -> Response:
        """Status 200 only if the model answers now."""
        check = asyncio.get_running_loop().run_in_executor(self.health_pool, self.watcher.current.is_alive)
        try:
            alive = await asyncio.wait_for(check, LONGEST_CHECK)
        except Exception:
            alive = False
        return (
            Response("\n", media_type="application/json") if alive else error_response(503, "the model does not answer")
        )

    async def version(self, request: Request) -> Response:
        """Which version answers, and why following the alias fails, if it does."""
        if self.is_unauthorized(request):
            return unauthorized_response()
        name = asdict(self.watcher.current.name)
        return JSONResponse({**name, "mlflow": VERSION, "trouble": self.watcher.problem})

    async def show_metrics(self, request: Request) -> Response:
        if self.is_unauthorized(request):
            return unauthorized_response()
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def show_page(self, request: Request) -> Response:
        return HTMLResponse(self.page, headers={"Content-Security-Policy": PAGE_POLICY})


def unauthorized_response() -> Response:
    message = "this server needs the header Authorization: Bearer TOKEN"
    return error_response(401, message, "UNAUTHENTICATED", {"WWW-Authenticate": "Bearer"})


def create() -> Starlette:
    """The application of one process, with the settings in the environment; the model is loaded first."""
    settings = validate(ServeSettings, json.loads(os.environ[SETTINGS]))
    metrics = ServingMetrics()
    with worker_of_several():
        watcher = AliasWatcher(use_tracking_store(), settings.registered_model, settings.alias, metrics)
    return Server(settings, watcher, metrics).application()
