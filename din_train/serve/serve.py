"""`din-train serve`: open the exported folder, check it, and answer requests until the process is told to end."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from din_train.errors import ConfigError
from din_train.serve.exported_model import ExportedModel
from din_train.serve.served_request import Limits


def serve(
    folder: Path,
    *,
    host: str,
    port: int,
    grpc_port: int,
    workers: int,
    threads: int,
    limits: Limits,
    body_bytes: int,
    with_page: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the model of a folder.

    Args:
        folder: that `din-train export` wrote. workers: requests that are scored at once.
        threads: that score one of them. body_bytes: of a request at most. say: shows where the server listens.
    """
    if importlib.util.find_spec("kserve") is None:
        raise ConfigError(
            "serve: KServe is not installed here; `make setup-serving` makes an environment that has it, and its "
            "command is .venv-serving/bin/din-train; pip install 'din-train[serving]' adds it to this one"
        )
    exported = ExportedModel(folder, threads)
    from din_train.serve.server import run_server

    run_server(
        exported,
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=workers,
        limits=limits,
        body_bytes=body_bytes,
        with_page=with_page,
        say=say,
    )
