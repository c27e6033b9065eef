#!/usr/bin/env bash
# Stage 0: the audio is in the repository.
set -euo pipefail
[ $# -eq 0 ] || { echo "download.sh: unexpected argument: $1" >&2; exit 2; }
echo "$(find local/audio -name '*.flac' | wc -l) recordings in local/audio" >&2
