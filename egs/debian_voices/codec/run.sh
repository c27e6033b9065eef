#!/usr/bin/env bash
# Speech from Debian packages: six voices, five languages, telephone prompts and read sentences at 16 kHz. Needs apt-get,
# dpkg and ffmpeg, not root. run.sh --help lists the options.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")"
. ./path.sh
. ../../../recipes/codec.sh
. ./cmd.sh

nj=2             # files decoded at the same time
dev_share=0.05   # share of the recordings kept for validation
test_share=0.05  # share kept for scoring
min_seconds=0.5  # leave out shorter recordings
. ../../../recipes/utils/parse_options.sh

DOWNLOAD_OPTIONS=("$nj")
DATA_OPTIONS=(--min-seconds "$min_seconds" --dev-share "$dev_share" --test-share "$test_share")
run_stages "$@"
