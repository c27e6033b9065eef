#!/usr/bin/env bash
# Stage 1: data.sh OUT [option of audiocodec make-data ...] makes OUT/{all,train,dev,test} from corpus/<voice>.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: data.sh OUT [option ...]" >&2; exit 2; }
out=$1
shift
audiocodec make-data corpus "$out" --split "$@"
