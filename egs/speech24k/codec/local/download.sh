#!/usr/bin/env bash
# Stage 0: download.sh CORPUS SHARDS looks whether the corpus is all there and unpacks its tars to audio/train/<tar>. One that is
# unpacked is left alone, unless its tar is newer.
set -euo pipefail
[ $# -eq 2 ] && [ -n "$1" ] || { echo "say where the corpus is: run.sh --corpus DIR" >&2; exit 2; }
tars=$(python local/tables.py "$1" "$2")
while IFS= read -r tar; do
    out=audio/train/$tar
    [ ! -e "$out" ] || [ ! "$out" -ot "$1/$tar" ] || rm -r "$out"
    python ../../../recipes/utils/unpack.py "$1/$tar" . "$out"
done <<<"$tars"
python local/tables.py "$1" "$2" audio/train >/dev/null
