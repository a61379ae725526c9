#!/bin/sh
# Prints the path of a Chromium (or Chrome) for the browser tests; installs Debian's as root when there is none.
set -eu

find_browser() {
    for name in ${VFLOW_CHROMIUM:-} chromium chromium-browser google-chrome google-chrome-stable \
        "/Applications/Chromium.app/Contents/MacOS/Chromium" \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        command -v "$name" && return
    done
    return 1
}

find_browser && exit 0
install="apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation"
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "no Chromium found; installing it: $install" >&2
    DEBIAN_FRONTEND=noninteractive sh -c "$install" >&2 < /dev/null
    find_browser && exit 0
fi
echo "The browser tests need Chromium or Chrome. Debian and Ubuntu: sudo sh -c '$install'." \
    "Elsewhere: install one, or name it with VFLOW_CHROMIUM=/path/to/chrome." >&2
exit 1
