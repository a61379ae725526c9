"""The browser app: builds the page and serves it on this machine alone."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from gradio import processing_utils
from gradio.exceptions import ComponentProcessingError
from gradio.route_utils import FnIndexInferError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from vflow.devices import choose_device
from vflow.errors import ConfigError

from .guard import guarded
from .guard.bodies import UPLOAD_LIMIT
from .guard.connections import serve_with
from .guard.doors import REMEDY, is_own, named_files
from .guard.policy import Policy
from .ui import api
from .ui.colorize.tab import TAB as COLORIZE
from .ui.compress.tab import TAB as COMPRESS
from .ui.digits.tab import TAB as DIGITS
from .ui.enlarge.tab import TAB as ENLARGE
from .ui.lab.tab import TAB as LAB
from .ui.predict.job import warm_up
from .ui.predict.tab import TAB as PREDICT
from .ui.shared.context import AppContext, Tab, to_gradio_error
from .ui.shared.handing import wire_handing
from .ui.shared.jobs import Jobs
from .ui.shared.models import ModelStore
from .ui.shared.storage import RUNS, RunStore, remove_private_folders, start_sweeper
from .ui.shared.theme import CSS, head, scripts, theme
from .ui.shared.turns import address_of
from .ui.surprise.tab import TAB as SURPRISE
from .ui.tasks import plain_tabs
from .ui.walk.tab import TAB as WALK

TABS: tuple[Tab, ...] = (PREDICT, DIGITS, COLORIZE, ENLARGE, WALK, SURPRISE, COMPRESS, LAB)
Offer = Literal["mcp", "teach"]
"""Tools for language models, and fine-tuning on people's own clips, both only where asked for."""
QUEUE_SIZE = 64  # jobs that wait; more are refused
ADDRESS_QUEUE_SIZE = 8  # jobs of an address, those under way included
WRONG_VALUES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError)
QUEUE_FULL = f"{QUEUE_SIZE} jobs are already waiting, which is the limit; try again in a minute"
ADDRESS_QUEUE_FULL = (
    f"{ADDRESS_QUEUE_SIZE} jobs of your address are already under way or waiting, which is the limit; "
    "try again when one of them is done"
)
THREADS = QUEUE_SIZE + 16  # gradio begins as many queued events at once: all jobs, and events that are none
HELP = "Use via API"  # gradio's button
VALUES_NEEDED = (
    f"a value is missing or of another kind; '{HELP}' at the foot of the page lists what each endpoint takes"
)
HEADER = """<header class="vf-header"><h1>
<svg viewBox="0 0 32 32" fill="none" stroke="currentColor" stroke-width="2.6" stroke-linecap="round"
 aria-hidden="true"><path d="M3 16h7"/><path d="M10 16c6 0 7-11 13-11h5"/>
<path d="M10 16c6 0 7-4 13-4h5" opacity=".75"/><path d="M10 16c6 0 7 4 13 4h5" opacity=".55"/>
<path d="M10 16c6 0 7 11 13 11h5" opacity=".35"/></svg>vflow</h1>
<p>Many possible futures of a video, colours for old photos, digits in any hand.</p></header>"""
FOOTER = """<p class="vf-private">Everything runs on this machine.
Uploads and results are deleted within the hour, and when the app ends.</p>"""


class Page(gr.Blocks):
    """Blocks that answer values of the wrong kind in one line, and log no traceback of them.

    Components read what programs send before a function sees it, and raise as their libraries do.

    Nor do files reach a component that are not in the app's own folder.

    Attributes:
        preload: ``launch`` calls it once the page is served, which so does not wait for models.
        files: folder of uploads and results.
    """

    preload: Callable[[], None] = staticmethod(lambda: None)
    files: Path

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """Values as the functions of events take them; here every call arrives, over HTTP or MCP."""
        blocks = [block if state is None else state.get(block._id, block) for block in block_fn.inputs]
        if block_fn.api_visibility == "public":  # programs may leave out the last values, which have defaults
            inputs = [*inputs, *(block.value for block in blocks[len(inputs) :])]
        clamped = list(map(_clamped, blocks, inputs))
        try:
            if foreign := [name for name in named_files(inputs) if not is_own(name, self.files)]:
                raise to_gradio_error(f"{foreign[0][:200]!r}: not an upload; {REMEDY}")
            values: list[Any] = await super().preprocess_data(block_fn, clamped, state, explicit_call)
        except gr.Error:
            raise
        except (*WRONG_VALUES, ComponentProcessingError) as error:
            raise to_gradio_error(VALUES_NEEDED) from error
        return values


def _clamped(block: Any, value: Any) -> Any:
    """A slider's value as the browser has it once a person leaves the number box, which takes any number."""
    if not isinstance(block, gr.Slider) or not isinstance(value, int | float | None):
        return value
    return min(max(block.minimum if value is None else value, block.minimum), block.maximum)


def refuse(request: Request, error: Exception) -> JSONResponse:
    """The same for what gradio itself cannot read, such as a call to an endpoint that does not exist."""
    return JSONResponse({"error": VALUES_NEEDED}, status_code=422)


def limit_queue(queue: Any) -> None:
    """Let gradio's ``queue`` refuse a request while it holds too many jobs, of all clients or of its address.

    A job counts from its request to its end; of all of them one has the model and does not wait.
    """
    push = queue.push

    async def push_unless_full(body: Any, request: Request, username: str | None) -> Any:
        addresses = [address_of(event.request) for event in queue.event_ids_to_events.values()]
        if len(addresses) > QUEUE_SIZE:
            return False, QUEUE_FULL, "queue_full"
        if addresses.count(address_of(request)) >= ADDRESS_QUEUE_SIZE:
            return False, ADDRESS_QUEUE_FULL, "queue_full"
        return await push(body, request, username)

    queue.push = push_unless_full


def build(checkpoints: Sequence[str | Path] = (), *, device: str = "auto", teach: bool = False) -> Page:
    """The page, ready to launch.

    Args:
        checkpoints: folders with models of one's own, offered beside those that ship.
        device: where models run: auto, cpu or cuda.
        teach: people may fine-tune models on their clips.

    Raises:
        CheckpointError: one of ``checkpoints`` holds no model.
    """
    cache = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
    runs = cache / RUNS
    runs.mkdir(parents=True, exist_ok=True)
    app = AppContext(ModelStore(checkpoints, choose_device(device)), RunStore(runs), Jobs(), cache, teach)
    with Page(title="vflow", analytics_enabled=False, fill_width=True) as page:
        page.files = cache
        gr.HTML(HEADER, apply_default_css=False)
        with gr.Tabs(overflow_behavior="wrap"):  # the whole names, in two rows on a phone
            for tab in (*TABS, *plain_tabs()):
                with gr.Tab(tab.title, id=tab.identifier):
                    tab.build(app)
        for component in app.outside_tabs:
            component.render()
        wire_handing(app)
        api.build(app)
        gr.HTML(FOOTER, apply_default_css=False)
    start_sweeper(app.runs, cache)
    page.preload = partial(app.models.preload, partial(warm_up, app))
    page.queue(default_concurrency_limit=8)
    limit_queue(page._queue)
    return page


def launch(
    page: Page,
    host: str,
    port: int,
    allowed_hosts: Sequence[str] = (),
    embedding: Sequence[str] = (),
    *,
    mcp: bool = False,
) -> str:
    """Serve ``page`` from a thread of its own, behind the guard.

    Returns:
        Its address.
    """
    blocked = [str(Path(folder).resolve()) for folder in ("checkpoints", "runs")]
    # gradio's names of uploads are hashes of their contents with a number that the package may carry.
    processing_utils.hash_seed = secrets.token_bytes(32)
    serve_with(partial(guarded, served=host, allowed=allowed_hosts, files=page.files))
    if mcp:
        _ask_for_enclosed_files()  # before anyone can list tools
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        theme=theme(),
        css_paths=CSS,
        head=head(),
        footer_links=["api"],
        share=False,
        inbrowser=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=mcp,
        enable_monitoring=False,
        run_history=False,
        strict_cors=True,
        max_file_size=UPLOAD_LIMIT,
        max_threads=THREADS,
        state_session_capacity=64,
        allowed_paths=[],
        blocked_paths=blocked,
        app_kwargs={
            "middleware": [Middleware(Policy, scripts(), embedding)],
            "exception_handlers": dict.fromkeys((*WRONG_VALUES, FnIndexInferError), refuse),
        },
    )
    page.preload()
    return address


def _ask_for_enclosed_files() -> None:
    """Let tools of MCP servers ask for files in the call; gradio asks for addresses, which are refused."""
    from gradio.mcp import GradioMCPServer  # which imports the protocol's package

    simplify = GradioMCPServer.simplify_filedata_schema

    def reworded(node: Any) -> Any:
        if isinstance(node, list):
            return [reworded(part) for part in node]
        if not isinstance(node, dict):
            return node
        if str(node.get("format")).startswith("Gradio File Input"):
            node = node | {"format": "a file as a data: URI, or the path of one that was uploaded"}
        return {key: reworded(part) for key, part in node.items()}

    def simplified(server: GradioMCPServer, schema: dict[str, Any]) -> tuple[Any, Any]:
        simple, positions = simplify(server, schema)
        return reworded(simple), positions

    GradioMCPServer.simplify_filedata_schema = simplified


def main(
    host: str = "127.0.0.1",
    port: int = 7860,
    checkpoints: Sequence[str | Path] = (),
    *,
    device: str = "auto",
    allowed_hosts: Sequence[str] = (),
    embedding: Sequence[str] = (),
    offers: Collection[Offer] = (),
    on_served: Callable[[], None] = lambda: None,
) -> None:
    """Build the page and serve it until interrupted; ``on_served`` is called once it answers.

    Raises:
        ConfigError: the port is taken or the address is not this machine's.
        CheckpointError: one of ``checkpoints`` holds no model.
        KeyboardInterrupt: Ctrl+C; the server is down and its files are gone by then.
    """
    _check_port(host, port)
    _set_environment()
    with _ending_on_sigterm():
        page = build(checkpoints, device=device, teach="teach" in offers)
        mcp = "mcp" in offers
        address = launch(page, host, port, allowed_hosts, embedding, mcp=mcp)
        on_served()
        print(f"vflow is at {address}  (Ctrl+C ends it)", file=sys.stderr, flush=True)
        if mcp:
            print(f"MCP server: {address.rstrip('/')}/gradio_api/mcp/", file=sys.stderr, flush=True)
        try:
            while True:
                time.sleep(3600)  # and not an Event's wait, which Ctrl+C does not interrupt on Windows
        finally:
            page.close(verbose=False)


def _set_environment() -> None:
    """Turn off telemetry, and proxies between the browser and this machine."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost,::1"]))


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as an exit does, so that its clean-up runs, and then the process.

    Threads may still compute then; Docker would not wait for them.
    """
    received = list[int]()

    def end(number: int, frame: Any) -> None:
        received.append(number)
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if received:
            remove_private_folders()
            sys.stderr.flush()
            os._exit(128 + received[0])


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # on Windows it would share the port of another app
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise ConfigError(
                f"--host {host}: {error.strerror}; give an address of this machine, such as 127.0.0.1"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"port {port} on {host} cannot be used ({error.strerror}); try --port {port + 1}"
            ) from error


if __name__ == "__main__":
    main()
