#!/usr/bin/env bash
# Run one job on this machine: run.sh --log LOG [--out OUT] [--gpus N] COMMAND [ARGUMENT ...]
# What it prints goes to the end of LOG, with --out only its stderr does and its stdout goes to the end of OUT. The exit status
# is the command's; after a failure the end of the log is shown.
set -euo pipefail

log=    # where the job's messages go
out=    # where its data goes
gpus=0  # for the same interface as slurm.sh: here the command finds the devices itself
. "$(dirname "$0")/parse_options.sh"
[ -n "$log" ] && [ $# -ge 1 ] || { echo "usage: run.sh --log LOG [--out OUT] [--gpus N] COMMAND [ARGUMENT ...]" >&2; exit 2; }

mkdir -p "$(dirname "$log")"
[ -z "$out" ] || mkdir -p "$(dirname "$out")"
{
    printf '# %s on %s, %s GPUs asked for:' "$(date '+%F %T')" "$(hostname)" "$gpus"
    printf ' %q' "$@"
    printf '\n'
} >>"$log"
begun=$SECONDS
status=0
"$@" >>"${out:-$log}" 2>>"$log" </dev/null || status=$?
echo "# exit status $status after $((SECONDS - begun)) s" >>"$log"
if [ "$status" -ne 0 ]; then
    echo "exit status $status: $*" >&2
    echo "the end of $log:" >&2
    tail -n 15 "$log" >&2
fi
exit "$status"
