#!/usr/bin/env bash
# Stage 0: download.sh AUDIO; the audio is yours, this only looks whether it is there.
set -euo pipefail
[ $# -eq 1 ] && [ -n "$1" ] || { echo "say where the audio is: run.sh --audio DIR" >&2; exit 2; }
[ -d "$1" ] || { echo "$1: no such folder" >&2; exit 1; }
