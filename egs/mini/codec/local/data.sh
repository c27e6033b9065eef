#!/usr/bin/env bash
# Stage 1: data.sh OUT makes OUT/{all,train,dev,test}.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: data.sh OUT" >&2; exit 2; }
audiocodec make-data local/audio "$1" --split --dev-share 0.06 --test-share 0.28
