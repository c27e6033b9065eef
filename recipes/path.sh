# shellcheck shell=bash
# Sourced by every path.sh: the audiocodec command on PATH (the active environment's, else the checkout's .venv), one
# sorting order everywhere, and OpenMP threads that do not spin while they wait.
command -v audiocodec >/dev/null || PATH=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)/.venv/bin:$PATH
command -v audiocodec >/dev/null || { echo "no audiocodec command: run 'make environment' at the top of the checkout" >&2; exit 2; }
export PATH LC_ALL=C.UTF-8 GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}
unset CDPATH # cd must go where it is told
