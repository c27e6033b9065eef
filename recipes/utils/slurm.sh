#!/usr/bin/env bash
# Run one job on a Slurm cluster and wait for it: slurm.sh --log LOG [--out OUT] [--gpus N] [--array SPEC] COMMAND [ARGUMENT ...]
# Output and exit status as with run.sh. Partition, account, time limit and the like come from the environment that sbatch reads
# (SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT, ...). With --array 0-63 it is 64 tasks, each with its number in
# SLURM_ARRAY_TASK_ID; write %a in LOG where the number goes. The exit status is that of the task with the highest one.
set -euo pipefail

log=    # where the job's messages go
out=    # where its data goes
gpus=0  # GPUs the job, or each task of an array, needs
array=  # tasks of an array, as sbatch takes them: 0-63, 0-999%16 (at most 16 at a time)
. "$(dirname "$0")/parse_options.sh"
[ -n "$log" ] && [ $# -ge 1 ] || { echo "usage: slurm.sh --log LOG [--out OUT] [--gpus N] [--array SPEC] COMMAND [ARGUMENT ...]" >&2; exit 2; }
command -v sbatch >/dev/null || { echo "slurm.sh: no sbatch here; choose run.sh in cmd.sh" >&2; exit 2; }

mkdir -p "$(dirname "$log")"
[ -z "$out" ] || mkdir -p "$(dirname "$out")"
request=(--wait --job-name "$(basename "$log" .log)" --output "${out:-$log}" --error "$log" --open-mode append)
[ "$gpus" -eq 0 ] || request+=(--gpus "$gpus")
[ -z "$array" ] || request+=(--array "$array")
status=0
sbatch "${request[@]}" --wrap "$(printf '%q ' "$@")" >&2 || status=$?
if [ "$status" -ne 0 ]; then
    echo "exit status $status: $*" >&2
    [ ! -e "$log" ] || { echo "the end of $log:" >&2; tail -n 15 "$log" >&2; }
fi
exit "$status"
