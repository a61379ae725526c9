"""Command line: find the command, parse its flags, call its ``run``, turn errors into one line.

Exit codes: 0 ok, 1 an input cannot be used or some items failed, 2 usage, 3 checkpoint, 130 interrupted.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import io
import os
import re
import sys
import traceback
from collections.abc import Collection, Sequence
from dataclasses import fields
from importlib import import_module, metadata
from typing import Annotated, Any, NamedTuple, Union

from vflow import registry
from vflow.errors import ConfigError, VflowError, naming_memory, printable

USAGE, INTERRUPTED = 2, 130
ANY_CHARACTER = "vflow.any-character"
"""Name of the error handler of stdout."""


class Command(NamedTuple):
    """Place of a command's flags (``module:class``, or the family of a task), and its summary in a line.

    The class may name flags in ``unused``: those that scripts give to every command, and that this one
    takes without a use for them. They are no part of its help.
    """

    home: Any
    summary: str


FURTHER = Command("", "")
"""In place of a further command of the registry."""
OWN = {
    "app": Command("vflow.commands.app:App", "serve the app to a browser"),
    "train": Command("vflow.commands.train:Train", "train a model on generated data or your own"),
    "teach": Command("vflow.commands.teach:Teach", "fine-tune a video model on your own clips in minutes"),
    "config": Command("vflow.commands.config:PrintConfig", "print a preset as YAML"),
    "walk": Command("vflow.commands.walk:WalkLatents", "walk through a model's latents, step by step"),
    "generate": Command("vflow.commands.generate:choices", "the same for folders and clusters"),
    "sample": Command("vflow.commands.sample:Sample", "draw points from a trained density"),
    "score": FURTHER,
    "infer-actions": Command("vflow.commands.infer_actions:InferActions", "which plan a film was made by"),
    "compress": FURTHER,
    "decompress": FURTHER,
    "export": Command("vflow.commands.export:Export", "write a model as ONNX, and a page that draws with it"),
    "evaluate": Command("vflow.commands.evaluate:Evaluate", "measure a checkpoint on held-out data"),
    "benchmark": Command("vflow.commands.benchmark:RunBenchmark", "measure on a published benchmark"),
    "push": Command("vflow.commands.push:Push", "publish a checkpoint on the Hugging Face hub"),
}
AFTER = "config"
"""Command that those of tasks come after, in the list of commands."""
SEVERAL = {
    "--input",
    "--checkpoints",
    "--allow-host",
    "--embed-in",
    "--set",
    "--negatives",
    "--positives",
    "--plans",
}
"""Flags that take several values, and may be repeated; so may those that a command names in ``several``."""


def all_commands() -> dict[str, Command | registry.Command]:
    """Commands by name, those of the tasks in the registry among them."""
    further = registry.further()
    own = [(name, further.get(name, command)) for name, command in OWN.items()]
    place = 1 + list(OWN).index(AFTER)
    tasks = [
        (name, Command(family, about.summary))
        for name, family in registry.commands().items()
        if (about := family.command)
    ]
    return dict([*own[:place], *tasks, *own[place:]])


def _encode_any(error: UnicodeError) -> tuple[str | bytes, int]:
    """The byte of a file's name that is no text; for any other character that stdout lacks, an escape."""
    if isinstance(error, UnicodeEncodeError):
        error.end = error.start + 1  # of the characters in a row that cannot be encoded, the first alone
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


codecs.register_error(ANY_CHARACTER, _encode_any)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    # Read when torch loads OpenMP: threads that spin at barriers make a busy machine up to 30 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Files and pipes have the system's code page on Windows, until Python 3.15; their readers want UTF-8.
        sys.stdout.reconfigure(encoding="utf-8" if os.name == "nt" else None, errors=ANY_CHARACTER)
    try:
        with naming_memory("give smaller or fewer inputs, or draw fewer samples"):
            _refuse_namesake()
            registry.load_plugins()
            return _dispatch(arguments)
    except VflowError as error:
        return _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED, debug)
    except BrokenPipeError:  # the reader of our output has gone; nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # such as a full disk behind stdout
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", 1, debug)


def _refuse_namesake() -> None:
    """A package of another project is imported as vflow, too; where both are installed, files are mixed.

    Raises:
        ConfigError: it is there.
    """
    if found := list(metadata.distributions(name="vflow")):
        raise ConfigError(
            f"a package vflow {found[0].version} of another project is installed among this one's files: "
            "pip uninstall vflow, then install this one (vflow-torch) anew, or use an environment of its own"
        )


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        print(_help(), file=sys.stderr)
        return USAGE
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"vflow {import_module('vflow').__version__}")
        return 0
    if name not in (known := all_commands()):
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"commands: {', '.join(known)}"
        raise ConfigError(f"unknown command '{name}'; {hint}")
    if "" in rest:
        before = rest[rest.index("") - 1] if rest[0] else "argument"
        raise ConfigError(f"{before}: empty; give a value, or leave it out")
    command = _parse(name, rest)
    if command is None:
        return 0
    try:
        return int(command.run())
    except ConfigError as error:
        raise ConfigError(_naming_flag(str(error), command)) from error


def _naming_flag(message: str, command: Any) -> str:
    """``message`` with the flag in place of the parameter that it begins with, where that flag was given."""
    for flags in (command, getattr(command, "common", command)):
        for field in fields(flags):
            begins = re.match(rf"{field.name}(:| must | has | is )", message)
            if begins and getattr(flags, field.name) != field.default:
                return f"--{field.name.replace('_', '-')}{message.removeprefix(field.name)}"
    return message


def _help() -> str:
    lines = [f"  {name:<10} {command.summary}" for name, command in all_commands().items()]
    return "\n".join([
        "usage: vflow COMMAND [OPTIONS]", "",
        "Futures of videos, colourings of photos, digits and densities, with normalizing flows.", "",
        "commands:", *lines, "",
        "All commands take --device --dtype --threads --seed --debug.",
        "'vflow COMMAND --help' shows those that it uses, and its own.",
    ])  # fmt: skip


def _parse(name: str, rest: list[str]) -> Any:
    """The command's flags as an object; None when it was asked for help.

    Raises:
        ConfigError: the flags cannot be parsed.
    """
    import tyro

    flags, choices = _flags(all_commands()[name].home)
    if choices and (not rest or rest[0] not in (*choices, "-h", "--help")):
        *others, last = choices
        raise ConfigError(f"vflow {name}: first name a task: {', '.join(others)} or {last}")
    chosen = choices.get(rest[0]) if choices else flags
    rest = _without_unused(" ".join([name, *rest[: len(choices) > 0]]), rest, getattr(chosen, "unused", ()))
    several = {*SEVERAL, *getattr(chosen, "several", ())}
    captured = io.StringIO()
    if os.environ.get("NO_COLOR"):  # https://no-color.org; tyro's help knows TERM alone
        os.environ["TERM"] = "dumb"
    try:
        with contextlib.redirect_stderr(captured):
            return tyro.cli(
                flags,
                prog=f"vflow {name}",
                args=_gather(rest, several),
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            return None
        raise ConfigError(f"{_first_sentence(captured.getvalue())}; see 'vflow {name} --help'") from stop


def _flags(home: Any) -> tuple[Any, dict[str, Any]]:
    """Class of a command's flags, and its parts by the word that chooses one."""
    import tyro

    if not isinstance(home, str):
        return import_module("vflow.commands.task").command_class(home), {}
    found = registry.resolve(home)
    if isinstance(found, type):
        return found, {}
    parts: dict[str, Any] = found()
    named = tuple(
        Annotated[part, tyro.conf.subcommand(word, prefix_name=False)] for word, part in parts.items()
    )
    return Union[named], parts  # noqa: UP007


def _without_unused(command: str, arguments: list[str], unused: Sequence[str]) -> list[str]:
    """The arguments without flags in ``unused`` and their values; says on stderr that they do nothing."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if (flag := name.replace("_", "-")) not in unused:
            kept.append(argument)
            continue
        if not equals:
            next(rest, None)
        print(f"note: {flag} does nothing for vflow {command}", file=sys.stderr)
    return kept


def _no_flag(argument: str) -> str:
    """``./-a.png`` for a file ``-a.png``, as a glob of the shell gives it; any other argument itself."""
    is_name = re.match(r"-[^-]", argument) and argument != "-h" and not re.fullmatch(r"-[\d.,e-]+", argument)
    return f"./{argument}" if is_name and os.path.lexists(argument) else argument


def _gather(arguments: list[str], several: Collection[str] = SEVERAL) -> list[str]:
    """Join repeated flags that take several values: ``--set a=1 --set b=2`` → ``--set a=1 b=2``."""
    values: dict[str, list[str]] = {}
    others: list[str] = []
    target = others
    for argument in map(_no_flag, arguments):
        flag, equals, value = argument.partition("=")
        if flag in several:
            target = values.setdefault(flag, [])
            if equals:
                target.append(_no_flag(value))
                target = others
        elif re.match(r"-\D", argument):
            target = others
            others.append(argument)
        else:
            target.append(argument)
    return others + [part for flag, found in values.items() for part in (flag, *found)]


def _first_sentence(box: str) -> str:
    """The message in tyro's error (title, message, rule, hints), as one line without its final stop."""
    message: list[str] = []
    for line in box.splitlines()[1:]:
        if re.search(r"\w", line):
            message.append(line.strip("│| "))
        elif message:
            break
    text = " ".join(message) or " ".join(box.split())
    if text.startswith("Missing from"):
        return f"{' and '.join(re.findall(r'--[a-z-]+', text))} must be given"
    return text.rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
