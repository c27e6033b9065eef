#!/usr/bin/env bash
# A tiny codec on the twelve recordings of local/audio: every stage on a CPU in a few minutes. It shows that all parts
# work together; what it trains is far too small and too short to speak. run.sh --help lists the options.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")"
. ./path.sh
. ../../../recipes/codec.sh
. ./cmd.sh

config=mini
metrics=stoi,mel
. ../../../recipes/utils/parse_options.sh

run_stages "$@"
