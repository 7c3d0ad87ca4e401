"""The web application: MLflow's scoring formats on MLflow's paths, and what its own server lacks.

That is limits, a token, health that is measured, figures for Prometheus, and a page to try the model on.
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

from imagelab.quiet import start_keras
from imagelab.serving.answering import answer, explanation, refusal
from imagelab.serving.following import FollowingModel
from imagelab.serving.metrics import Metrics
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
    """The endpoints around a model that follows its alias."""

    def __init__(self, settings: ServeSettings, following: FollowingModel, metrics: Metrics) -> None:
        self.settings, self.following, self.metrics = settings, following, metrics
        self.pool = ThreadPoolExecutor(THREADS, "imagelab-request")
        self.doctor = ThreadPoolExecutor(1, "imagelab-health")  # a server that is only busy is healthy
        self.held = 0  # bytes of all bodies that are in memory
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
        self.doctor.shutdown(wait=False)

    async def invocations(self, request: Request) -> Response:
        """Predictions, in MLflow's formats."""
        return await self.counted(request, answer, request.headers.get("content-type", ""), self.settings.batch_limit)

    async def explain(self, request: Request) -> Response:
        """{"image": base64 text} to the prediction, and a picture of what the network looked at."""
        return await self.counted(request, explanation)

    async def counted(self, request: Request, work: Callable[..., Response], *arguments: Any) -> Response:
        """Run `work` on the loaded version and the body in a thread, if the request may be answered at all."""
        started = time.perf_counter()
        if self.is_stranger(request):
            response = turned_away()
        else:
            response = await self.worked(request, work, *arguments)
        self.metrics.requests.labels(response.status_code).inc()
        self.metrics.seconds.observe(time.perf_counter() - started)
        return response

    async def worked(self, request: Request, work: Callable[..., Response], *arguments: Any) -> Response:
        body = bytearray()
        try:
            if refused := await self.receive(request, body):
                return refused
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.pool, work, self.following.loaded, bytes(body), *arguments)
        finally:
            self.held -= len(body)

    async def receive(self, request: Request, body: bytearray) -> Response | None:
        """Fill `body`; an answer instead as soon as it turns out too large, too slow or too much for the memory."""
        limit = self.settings.body_limit * 2**20
        too_large = refusal(413, f"the request is larger than {self.settings.body_limit:g} MiB")
        if int(request.headers.get("content-length", 0)) > limit:
            return too_large
        with suppress(ClientDisconnect):  # nobody is there to read what the half is answered
            try:
                async with asyncio.timeout(LONGEST_BODY):
                    async for chunk in request.stream():
                        body += chunk
                        self.held += len(chunk)
                        if len(body) > limit:
                            return too_large
                        if self.held > THREADS * limit:
                            return refusal(503, "the server holds as many requests as it can; try again later")
            except TimeoutError:
                return refusal(408, f"the request has not arrived within {LONGEST_BODY:g} s")
        return None

    def is_stranger(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip(" ").encode("latin-1"), (self.token or "").encode())  # as they came
        return self.token is not None and not (is_right and scheme.lower() == "bearer")

    async def health(self, request: Request) -> Response:
        """Status 200 only if the model answers now."""
        asked = asyncio.get_running_loop().run_in_executor(self.doctor, self.following.loaded.is_alive)
        try:
            alive = await asyncio.wait_for(asked, LONGEST_CHECK)
        except Exception:
            alive = False
        return Response("\n", media_type="application/json") if alive else refusal(503, "the model does not answer")

    async def version(self, request: Request) -> Response:
        """Which version answers, and whether following the alias is in trouble."""
        if self.is_stranger(request):
            return turned_away()
        following = self.following
        return JSONResponse({**asdict(following.loaded.version), "mlflow": VERSION, "trouble": following.trouble})

    async def figures(self, request: Request) -> Response:
        if self.is_stranger(request):
            return turned_away()
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def show_page(self, request: Request) -> Response:
        return HTMLResponse(self.page, headers={"Content-Security-Policy": PAGE_POLICY})


def turned_away() -> Response:
    wanted = "this server needs the header Authorization: Bearer TOKEN"
    return refusal(401, wanted, "UNAUTHENTICATED", {"WWW-Authenticate": "Bearer"})


def create() -> Starlette:
    """The application of one process, with the settings in the environment; the model is loaded first."""
    settings = validate(ServeSettings, json.loads(os.environ[SETTINGS]))
    start_keras()
    metrics = Metrics()
    with worker_of_several():
        following = FollowingModel(use_tracking_store(), settings.registered_model, settings.alias, metrics)
    return Server(settings, following, metrics).application()
