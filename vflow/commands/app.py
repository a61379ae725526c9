"""``vflow app``: the browser app."""

from __future__ import annotations

import gc
import re
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from types import ModuleType
from typing import Annotated, ClassVar, Literal

import tyro

from vflow.errors import ConfigError, require
from vflow.flags import Whole

HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
ORIGIN = re.compile(rf"https?://(\*\.)?{HOST_NAME.pattern}")


@dataclass(frozen=True, kw_only=True)
class App:
    """Serve the app to a browser."""

    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine only."""
    port: int = 7860
    """Port to listen on."""
    checkpoints: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR…", help_behavior_hint="")] = ()
    """Folders of your own models, offered beside the shipped ones."""
    allow_host: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME…", help_behavior_hint="")] = ()
    """Further host names that requests may come under, such as a reverse proxy's (with an unusual port).

    Of a proxy on another machine, its address or network too: clients that it names are believed.
    """
    embed_in: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ORIGIN…", help_behavior_hint="")] = ()
    """Sites whose pages may show the app in a frame, such as https://huggingface.co; none by default."""
    mcp: bool = False
    """Offer the endpoints as tools to language models as well (Model Context Protocol)."""
    teach: bool = False
    """Let people teach models their own clips, as anyone at this machine may (where --host and --allow-host
    are left at their defaults)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes the fastest available."""
    threads: Whole = None
    """CPU threads; torch's choice when not given."""
    debug: bool = False
    """Show tracebacks."""

    unused: ClassVar[tuple[str, ...]] = ("--dtype", "--seed")

    def run(self) -> int:
        """Serves until interrupted; returns 0."""
        require("gradio", "the app", "app")
        if self.mcp:
            require("mcp", "--mcp", "mcp")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port {self.port}: must be between 0 and 65535")
        for name in self.allow_host:
            if not (HOST_NAME.fullmatch(name) or _is_network(name)):
                raise ConfigError(f"--allow-host {name}: give a name alone, such as flows.example.org")
        for origin in self.embed_in:
            if not ORIGIN.fullmatch(origin):
                raise ConfigError(f"--embed-in {origin}: give an origin, such as https://flows.example.org")
        if self.teach:
            require("accelerate", "--teach", "train")
        gc.disable()  # a fifth of the time of a start
        try:
            self._serve()
        finally:
            gc.enable()
        return 0

    def _at_home(self) -> bool:
        """True where this machine alone reaches the app, and it can train."""
        local = self.host in ("127.0.0.1", "localhost", "::1") and not self.allow_host
        return local and find_spec("accelerate") is not None

    def _serve(self) -> None:
        from vflow.devices import choose_device
        from vflow.pipelines.common import set_threads

        def collect() -> None:
            gc.freeze()  # what the start has made stays
            gc.enable()

        set_threads(self.threads)
        device = choose_device(self.device).type
        folders = [str(folder) for folder in self.checkpoints]
        _module().main(
            self.host,
            self.port,
            folders,
            device=device,
            allowed_hosts=self.allow_host,
            embedding=self.embed_in,
            offers=[*["mcp"] * self.mcp, *["teach"] * (self.teach or self._at_home())],
            on_served=collect,
        )


def _is_network(name: str) -> bool:
    """True for an address too, which is a network of one."""
    try:
        ip_network(name)
    except ValueError:
        return False
    return True


def _module() -> ModuleType:
    """The app's entry: a private package in the wheel, ``apps`` beside the package in a checkout."""
    name = "vflow._app.app" if find_spec("vflow._app") else "apps.app"
    return import_module(name)
