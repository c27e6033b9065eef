#!/usr/bin/env bash
# Run one job on a Slurm cluster and wait for it: slurm.sh [--gpus N] LOG COMMAND [ARGUMENT ...]
# Output goes to the end of LOG; the exit status is the command's. Partition, account, time limit and the like come
# from the environment that sbatch reads (SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT, ...).
set -euo pipefail

gpus=0  # GPUs the job needs
. "$(dirname "$0")/parse_options.sh"
[ $# -ge 2 ] || { echo "usage: slurm.sh [--gpus N] LOG COMMAND [ARGUMENT ...]" >&2; exit 2; }
command -v sbatch >/dev/null || { echo "slurm.sh: no sbatch here; choose the local backend in cmd.sh" >&2; exit 2; }

log=$1
shift
mkdir -p "$(dirname "$log")"
request=(--wait --job-name "$(basename "$log" .log)" --output "$log" --open-mode append)
[ "$gpus" -eq 0 ] || request+=(--gpus "$gpus")
status=0
sbatch "${request[@]}" --wrap "$(printf '%q ' "$@")" >&2 || status=$?
if [ "$status" -ne 0 ]; then
    echo "failed with status $status: $*" >&2
    [ ! -e "$log" ] || { echo "the end of $log:" >&2; tail -n 15 "$log" >&2; }
fi
exit "$status"
