#!/usr/bin/env bash
# Run one job on this machine: run.sh [--gpus N] LOG COMMAND [ARGUMENT ...]
# Output goes to the end of LOG; the exit status is the command's, and after a failure the end of the log is shown.
set -euo pipefail

gpus=0  # taken for the same interface as slurm.sh; here the command finds the devices itself
. "$(dirname "$0")/parse_options.sh"
[ $# -ge 2 ] || { echo "usage: run.sh [--gpus N] LOG COMMAND [ARGUMENT ...]" >&2; exit 2; }

log=$1
shift
mkdir -p "$(dirname "$log")"
{
    printf '# %s on %s, %s GPUs asked:' "$(date '+%F %T')" "$(hostname)" "$gpus"
    printf ' %q' "$@"
    printf '\n'
} >>"$log"
begun=$SECONDS
status=0
"$@" >>"$log" 2>&1 </dev/null || status=$?
echo "# exit status $status after $((SECONDS - begun)) s" >>"$log"
if [ "$status" -ne 0 ]; then
    echo "failed with status $status: $*" >&2
    echo "the end of $log:" >&2
    tail -n 15 "$log" >&2
fi
exit "$status"
