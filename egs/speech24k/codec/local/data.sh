#!/usr/bin/env bash
# Stage 1: data.sh OUT CORPUS SHARDS HELD_OUT [CONDITION ...] makes OUT/{train,valid,dev} and OUT/dev_<condition>.
set -euo pipefail
[ $# -ge 4 ] && [ -n "$2" ] || { echo "say where the corpus is: run.sh --corpus DIR" >&2; exit 2; }
python local/data.py "$@"
