"""KServe's model server, REST and gRPC in one process, over an exported model.

KServe 0.21 listens on 0.0.0.0 and [::] whatever it is told, so its routes and its gRPC service are started here.
"""

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would print to stderr what is raised as well
import grpc
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from din_train import __version__
from din_train.errors import Interrupted, RunError
from din_train.printable import make_printable, shorten
from din_train.serve.exported_model import ANSWER, ExportedModel
from din_train.serve.http_connection import LimitedConnection
from din_train.serve.http_limits import HttpLimits
from din_train.serve.served_request import BadRequest, Limits, SentTensor, build_arrays, read_tensors
from din_train.serve.serving_metrics import count_request, count_scored

arguments, sys.argv = sys.argv, sys.argv[:1]  # KServe parses the command line when it is imported
import kserve  # noqa: E402
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady  # noqa: E402
from kserve.protocol.dataplane import DataPlane  # noqa: E402
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (  # noqa: E402
    add_GRPCInferenceServiceServicer_to_server as add_servicer,
)
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor  # noqa: E402
from kserve.protocol.grpc.servicer import InferenceServicer  # noqa: E402
from kserve.protocol.infer_type import InferInput, InferOutput, InferRequest, InferResponse, RequestedOutput  # noqa: E402
from kserve.protocol.model_repository_extension import ModelRepositoryExtension  # noqa: E402
from kserve.protocol.rest.server import metrics_handler  # noqa: E402
from kserve.protocol.rest.v2_endpoints import register_v2_endpoints  # noqa: E402

sys.argv = arguments

IN_FLIGHT = 128
DRAIN_SECONDS = 30
# So few are scored sooner than another thread would begin.
_FEW_ROWS = 8
# Of one answer. The activation weights are as many as candidates times positions.
_MOST_NUMBERS = 1_000_000
_PAGE = Path(__file__).parent / "ui"
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'"


class ServedModel(kserve.Model):
    """Answers KServe's requests, those of many rows on as many threads as there are workers, with one ONNX session."""

    def __init__(self, exported: ExportedModel, limits: Limits, workers: int) -> None:
        super().__init__(exported.name)
        self._exported, self._limits = exported, limits
        self._output_names = [each["name"] for each in exported.outputs]
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="score")
        self.ready = True

    async def predict(self, payload: InferRequest, *_: Any) -> InferResponse:
        """click_probability and logit, or the outputs that the request names."""
        asked = [each.name for each in payload.request_outputs or ()] or list(ANSWER)
        if unknown := [each for each in asked if each not in self._output_names]:
            raise BadRequest(f"no output is called {unknown[0]!r}; there are {', '.join(self._output_names)}")
        sent = (
            SentTensor(each.name, each.datatype, each.shape, each.data if each._raw_data is None else each._raw_data)
            for each in payload.inputs
        )
        if len({*asked}) < len(asked):
            raise BadRequest("an output is named twice")
        arrays = build_arrays(sent, self._exported.inputs, self._limits)
        if max(map(len, arrays.values())) <= _FEW_ROWS:
            scored = self._exported.score(arrays, asked)
        else:
            loop = asyncio.get_running_loop()
            scored = await loop.run_in_executor(self._threads, self._exported.score, arrays, asked)
        if (size := sum(scored[name].size for name in asked)) > _MOST_NUMBERS:
            raise BadRequest(
                f"the answer would have {size:,} numbers; the limit is {_MOST_NUMBERS:,}, so send fewer candidates"
            )
        count_scored(scored)
        datatypes = {each["name"]: each["datatype"] for each in self._exported.outputs}
        return InferResponse(
            payload.id,
            self.name,
            [InferOutput(name, list(scored[name].shape), datatypes[name], scored[name]) for name in asked],
            use_binary_outputs=not payload.from_grpc and payload.use_binary_outputs,  # gRPC's always are
            requested_outputs=payload.request_outputs,
        )

    def get_input_types(self) -> list[dict[str, Any]]:
        """For the metadata."""
        inputs = self._exported.inputs.values()
        return [{"name": each.name, "datatype": each.sent_as, "shape": [-1] * len(each.shape)} for each in inputs]

    def get_output_types(self) -> list[dict[str, Any]]:
        """For the metadata."""
        return self._exported.outputs


class _OneModel(ModelRepositoryExtension):
    """No client may load or unload models: there is one, and all clients share it."""

    async def load(self, model_name: str) -> None:
        raise InvalidInput(f"{model_name}: this server holds one model, from its start to its end")

    unload = load


class _OneServer(DataPlane):
    def metadata(self) -> dict[str, Any]:
        return {"name": "din-train", "version": __version__, "extensions": ["binary_tensor_data"]}


class NoSuchVersion(ModelNotFound):
    """The one model has one version, which has no name."""

    def __init__(self) -> None:
        self.reason = "this server holds one version; leave the version out"


class GrpcService(InferenceServicer):
    """KServe's service, whose refusals are one line each, and counted. KServe itself reads no version."""

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        _refuse_version(request.version)
        return await super().ModelReady(request, context)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        _refuse_version(request.version)
        return await super().ModelMetadata(request, context)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        begun, status = time.perf_counter(), grpc.StatusCode.CANCELLED
        request.id = request.id or str(uuid.uuid4())
        try:
            _refuse_version(request.model_version)
            answer = await super().ModelInfer(request, context)
            status = grpc.StatusCode.OK
            return answer
        except Exception as error:
            http_status, status, line = _describe(error)
            await context.abort(status, _report(request.id, error) if http_status == 500 else line)
        finally:
            count_request("grpc", status.name, time.perf_counter() - begun)


def build_application(
    model: ServedModel, exported: ExportedModel, *, with_page: bool
) -> tuple[FastAPI, InferenceServicer]:
    """The REST routes and the gRPC service, without limits."""
    plane, extension = _OneServer(kserve.ModelRepository()), None
    plane.model_registry.update(model)
    extension = _OneModel(plane.model_registry)
    application = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    async def infer(request: Request) -> Response:
        model_name = request.path_params["model_name"]
        asked = _read_body(await request.body(), request.headers.get("inference-header-content-length"), model_name)
        request.state.identity = asked.id
        answer, _ = await plane.infer(model_name, asked)
        encoded, json_bytes = answer.to_rest()
        if json_bytes is None:
            return Response(orjson.dumps(encoded), media_type="application/json")
        headers = {"inference-header-content-length": str(json_bytes)}
        return Response(encoded, headers=headers, media_type="application/octet-stream")

    # Before KServe's own route, which reads what `curl -d` sends as binary tensors and is slower.
    application.router.routes.append(Route("/v2/models/{model_name}/infer", infer, methods=["POST"]))
    application.add_api_route("/", plane.live)
    application.add_api_route("/metrics", metrics_handler)
    register_v2_endpoints(application, plane, extension)
    if with_page:
        _add_page(application, exported)
    # Each by name: after a handler of Exception itself the connection is closed.
    refusals = (BadRequest, InvalidInput, ModelNotFound, ModelNotReady, NotImplementedError)
    for kind in (*refusals, HTTPException, RequestValidationError, Exception):
        application.add_exception_handler(kind, _answer_error)
    return application, GrpcService(plane, extension)


def run_server(
    exported: ExportedModel,
    *,
    host: str,
    port: int,
    grpc_port: int,
    workers: int,
    limits: Limits,
    body_bytes: int,
    with_page: bool,
    say: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are still answered, for up to 30 seconds.

    Raises:
        Interrupted: when that came. RunError: if a port cannot be used.
    """
    logging.getLogger("kserve").addHandler(logging.NullHandler())
    logging.getLogger("kserve").propagate = False  # it logs a traceback for each bad request
    application, service = build_application(ServedModel(exported, limits, workers), exported, with_page=with_page)
    limited = HttpLimits(application, body_bytes=body_bytes, in_flight=IN_FLIGHT, count=count_request)
    config = uvicorn.Config(
        limited,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        http=LimitedConnection,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    with (
        contextlib.closing(_listen(host, port)) as listening,
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
    ):
        received = runner.run(_serve(_HttpServer(config), listening, service, host, grpc_port, body_bytes, say))
    raise Interrupted("requests in flight were answered", exit_code=128 + received)


class _HttpServer(uvicorn.Server):
    """Signals are handled by `_serve`, for both protocols."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    server: _HttpServer,
    listening: socket.socket,
    service: InferenceServicer,
    host: str,
    grpc_port: int,
    body_bytes: int,
    say: Callable[[str], None],
) -> int:
    """Returns the signal that ended it."""
    grpc_server = grpc.aio.server(
        interceptors=(ExceptionToStatusInterceptor(),),
        maximum_concurrent_rpcs=IN_FLIGHT,
        options=[("grpc.max_receive_message_length", body_bytes), ("grpc.so_reuseport", 0)],
    )
    add_servicer(service, grpc_server)
    address = f"[{host}]" if ":" in host else host
    try:
        grpc_port = grpc_server.add_insecure_port(f"{address}:{grpc_port}")
    except RuntimeError:
        raise RunError(f"{address}:{grpc_port}: cannot be listened to; choose another --grpc-port or --host") from None
    ended = asyncio.get_running_loop().create_future()

    def end(number: int) -> None:
        if ended.done():
            server.force_exit = True  # a second signal
        else:
            ended.set_result(number)
            server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    await grpc_server.start()
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    say(f"http://{address}:{listening.getsockname()[1]} answers REST, {address}:{grpc_port} gRPC; Ctrl-C ends it")
    received: int = await ended
    await asyncio.gather(grpc_server.stop(DRAIN_SECONDS), serving)
    return received


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise RunError(f"{host}:{port}: {getattr(error, 'strerror', error)}; choose another --port or --host") from None


def _read_body(body: bytes, json_bytes: str | None, model_name: str) -> InferRequest:
    end = len(body)
    if json_bytes is not None:  # tensors in binary after the JSON
        if not re.fullmatch("[0-9]{1,10}", json_bytes) or int(json_bytes) > end:
            raise BadRequest(f"Inference-Header-Content-Length is {json_bytes!r}, and the body has {end:,} bytes")
        end = int(json_bytes)
    try:
        request = orjson.loads(body[:end])
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON ({error})") from None
    tensors = read_tensors(request, body[end:])
    inputs = [InferInput(each.name, each.shape, each.datatype, each.data) for each in tensors]
    outputs, parameters, identity = (request.get(key) for key in ("outputs", "parameters", "id"))
    if not isinstance(outputs, list | None) or not all(
        isinstance(each, dict) and "name" in each and isinstance(each.get("parameters"), dict | None)
        for each in outputs or ()
    ):
        raise BadRequest('"outputs" is not a list of objects with a name, whose parameters are objects')
    if not isinstance(parameters, dict | None) or not isinstance(identity, str | None):
        raise BadRequest('"parameters" must be an object, and "id" a text')
    asked = [RequestedOutput(each["name"], each.get("parameters")) for each in outputs or ()]
    identity = identity or str(uuid.uuid4())
    return InferRequest(model_name, inputs, identity, parameters=parameters, request_outputs=asked or None)


def _describe(error: Exception) -> tuple[int, grpc.StatusCode, str]:
    """HTTP status, gRPC status, one line."""
    match error:
        case BadRequest() | InvalidInput():
            status = 400, grpc.StatusCode.INVALID_ARGUMENT
        case RequestValidationError():
            return 400, grpc.StatusCode.INVALID_ARGUMENT, "the request is not as the protocol has it"
        case ModelNotFound():
            status = 404, grpc.StatusCode.NOT_FOUND
        case NotImplementedError():
            return 404, grpc.StatusCode.UNIMPLEMENTED, "this server holds one version; leave /versions/... out"
        case HTTPException(status_code=code, detail=detail):
            return code, grpc.StatusCode.UNKNOWN, str(detail)
        case ModelNotReady():
            status = 503, grpc.StatusCode.UNAVAILABLE
        case _:
            status = 500, grpc.StatusCode.INTERNAL
    return *status, make_printable(shorten(str(error) or type(error).__name__, 500))


def _refuse_version(version: str) -> None:
    if version:
        raise NoSuchVersion


def _report(identity: str, error: Exception) -> str:
    """One line on stderr for a fault of the server, and what the client is told."""
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" ({Path(each.filename).name}:{each.lineno})" for each in place)
    line = f"request {shorten(identity, 100)}: {type(error).__name__}: {shorten(str(error), 500)}"
    with contextlib.suppress(OSError):  # nobody reads it
        print(make_printable(f"error: {line}{where}"), file=sys.stderr, flush=True)
    return make_printable(line)


async def _answer_error(request: Request, error: Exception) -> Response:
    status, _, line = _describe(error)
    if status == 500:
        line = _report(getattr(request.state, "identity", str(uuid.uuid4())), error)
    headers = getattr(error, "headers", None)
    return Response(orjson.dumps({"error": line}), status, headers=headers, media_type="application/json")


def _add_page(application: FastAPI, exported: ExportedModel) -> None:
    """`/ui`, for people: three files and what `export.json` says."""
    headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "cache-control": "no-store"}

    def add(path: str, answer: Callable[[], Response]) -> None:
        async def route() -> Response:
            return answer()

        application.add_api_route(path, route, response_model=None)

    for path, name in (("/ui", "page.html"), ("/ui/page.js", "page.js"), ("/ui/page.css", "page.css")):
        add(path, partial(FileResponse, _PAGE / name, headers=headers))
    about = {key: exported.about.get(key) for key in ("name", "model", "created", "inputs", "golden")}
    about |= {"outputs": exported.outputs, "titles": exported.read_titles()}
    content = orjson.dumps(about)
    add("/ui/about.json", lambda: Response(content, headers=headers, media_type="application/json"))
