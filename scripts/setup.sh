#!/bin/sh
# Makes .venv and installs one extra into it: sh scripts/setup.sh app|test|dev|bench|docs
#
# .venv/stamps/EXTRA is written last and holds a checksum of pyproject.toml, so a finished extra costs nothing and
# an edited pyproject.toml is installed afresh. .venv/installing exists only while an install runs: found
# without its process, it marks an interrupted one, and the environment is made anew.
# PYTHON names the interpreter, PIP_FLAGS adds to pip's flags.
set -eu
extra=$1
cd "$(dirname "$0")/.."
venv=.venv
key=$(cksum < pyproject.toml)
place=$(pwd -P)

find_python() {
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
            2> /dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "vflow needs Python 3.11, 3.12 or 3.13 with its venv module (Debian: apt-get install python3-venv);" \
        "name one with: make PYTHON=/path/to/python3 ..." >&2
    return 1
}

# Scripts in .venv/bin hold absolute paths: a moved folder needs a new environment.
usable() {
    [ "$(cat "$venv/stamps/place" 2> /dev/null)" = "$place" ] && "$venv/bin/python" -c '' 2> /dev/null
}

installed() {
    usable && [ ! -e "$venv/installing" ] && [ "$(cat "$venv/stamps/$extra" 2> /dev/null)" = "$key" ]
}

other_install_runs() {
    pid=$(cat "$venv/installing" 2> /dev/null) && [ -n "$pid" ] || return 1
    { tr '\0' ' ' < "/proc/$pid/cmdline" || ps -p "$pid" -o args=; } 2> /dev/null | grep -q setup.sh
}

# noclobber makes creating the file atomic: of two makes at once, one waits.
take_turn() {
    mkdir -p "$venv"
    while ! (set -C && echo $$ > "$venv/installing") 2> /dev/null; do
        if other_install_runs; then
            echo "another make is installing into $venv; waiting ..." >&2
            sleep 3
        else
            echo "the last install into $venv was interrupted: starting over" >&2
            rm -rf "$venv"
        fi
        mkdir -p "$venv"
    done
}

make_venv() {
    python=$(find_python)
    find "$venv" -mindepth 1 -maxdepth 1 ! -name installing -exec rm -rf {} +
    "$python" -m venv "$venv"
    mkdir -p "$venv/stamps"
    echo "$place" > "$venv/stamps/place"
}

installed && exit 0
trap 'exit 130' INT TERM HUP
take_turn
if installed; then # by the make that was waited for
    rm "$venv/installing"
    exit 0
fi
if ! usable && ! make_venv; then
    rm -f "$venv/installing"
    exit 1
fi
echo "installing vflow[$extra] into $venv (torch is large: minutes on a first run) ..." >&2
# shellcheck disable=SC2086  # PIP_FLAGS is a list of words
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${PIP_FLAGS:-} -e ".[$extra]"; then
    rm -f "$venv/installing" # pip resolves and downloads everything before it changes anything
    echo "installing vflow[$extra] failed (pip's message is above); if it stays so: rm -rf $venv" >&2
    exit 1
fi
mkdir -p "$venv/stamps"
echo "$key" > "$venv/stamps/.new"
rm "$venv/installing"
mv "$venv/stamps/.new" "$venv/stamps/$extra"
