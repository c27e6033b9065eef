#!/usr/bin/env bash
# Stage 1: data.sh OUT AUDIO [option of audiocodec make-data ...] makes OUT/{all,train,dev,test}.
set -euo pipefail
[ $# -ge 2 ] && [ -n "$2" ] || { echo "say where the audio is: run.sh --audio DIR" >&2; exit 2; }
out=$1
audio=$2
shift 2
audiocodec make-data "$audio" "$out" --split "$@"
