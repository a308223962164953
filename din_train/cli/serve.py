"""`din-train serve`: an HTTP and gRPC server over what `din-train export` wrote."""

import os
from pathlib import Path

import click

_port = click.IntRange(0, 65535)


@click.command("serve")
@click.option(
    "--export",
    "folder",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="The folder that `din-train export` wrote.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0: all.")
@click.option("--port", default=8080, show_default=True, type=_port, help="Of REST; 0 takes a free one.")
@click.option("--grpc-port", default=8081, show_default=True, type=_port, help="Of gRPC; 0 takes a free one.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Requests that are scored at once, by threads that share the model; one per core if not given.",
)
@click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(1, 256), help="Threads that score one request."
)
@click.option("--ui", "with_page", is_flag=True, help="A page for people at /ui: type a history, rank candidates.")
@click.option(
    "--max-body-mb", default=4, show_default=True, type=click.IntRange(1, 1024), help="Megabytes of one request."
)
@click.option("--max-rows", default=4096, show_default=True, type=click.IntRange(1), help="Candidates of one request.")
@click.option(
    "--max-history", default=4096, show_default=True, type=click.IntRange(1), help="Behaviours of one history."
)
def command(
    folder: Path,
    host: str,
    port: int,
    grpc_port: int,
    workers: int | None,
    threads: int,
    with_page: bool,
    max_body_mb: int,
    max_rows: int,
    max_history: int,
) -> None:
    """Serve an exported model by the Open Inference Protocol (V2), over REST and gRPC.

    Health is at /v2/health/ready, what the model takes at /v2/models/din, Prometheus' metrics at /metrics. The command
    runs in the environment of `make setup-serving`, without TensorFlow. SIGTERM and Ctrl-C end it when the requests in
    flight are answered.
    """
    from din_train.serve.serve import serve
    from din_train.serve.served_request import Limits

    serve(
        folder,
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=workers or len(os.sched_getaffinity(0)),
        threads=threads,
        limits=Limits(max_rows, max_history),
        body_bytes=max_body_mb << 20,
        with_page=with_page,
        say=lambda line: click.echo(line, err=True),
    )
