#!/usr/bin/env bash
# A borrowed card, without network and for minutes: lease.sh pack makes parts small enough to travel, lease.sh calls prints the
# commands to run there, lease.sh unpack FOLDER ... takes over what came back. README.md tells how; `make lease-rehearsal` does it
# all on this machine. lease.sh pack --help lists the options of the three.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
here=$PWD
CDPATH='' cd -- "$(dirname -- "$0")"
. ./path.sh

# pack
corpus=                     # make data/train and data/valid of it first, as run.sh does (a relative path counts from this folder)
shards=                     # tars to train on, separated by spaces (default: all that train.tsv names)
train_set=data/train        # data folder; whatever lies in it travels
valid_set=data/valid        # the same for validation
config=speech_24k_gpu       # a name in audiocodec/configs, or a file
then=                       # configuration of a second run, which begins with what the first has made (default: none)
settings=                   # what to change in them, separated by spaces: "train.batch_size=64 data.segment_seconds=0.5"
init_from=                  # model to begin with, and the discriminators beside it (default: --start, if it is there)
python_version=3.12         # of the card's machine
wheels=                     # folder of soundfile, cffi, pycparser and soxr for it (default: from the package index)
call_mib=62                 # what a call may carry, the checkout included
leave_out='*.safetensors'   # files of the checkout that will not travel, see README.md
# calls
there=/tmp/lease            # folder on the card's machine
legs=2                      # calls that the training of --config is spread over
then_share=0.45             # of the time to train, for --then
total_minutes=15            # of the lease, from asking for the machine
call_minutes=9.8            # the longest command
start_seconds=120           # until the machine is there
reserve_seconds=45          # that are not planned
smoke_seconds=75            # limit of the call that tries everything
starting_seconds=25         # of a training call, before its first step
answer_seconds=6            # of a call besides its command, whatever travels
mib_seconds=0.15            # for a MiB that travels
# unpack
run=config                  # whose state came back: config, or then
start=start                 # where the next run begins: model.safetensors and discriminators.safetensors
force=false                 # put a model in place of one of another shape
# all
lease=lease                 # folder of the parts; git ignores it
verb=${1:-}
[ $# -eq 0 ] || shift
. ../../../recipes/utils/parse_options.sh

stop() { # stop STATUS MESSAGE
    echo "lease.sh: $2" >&2
    exit "$1"
}

case $verb in
    pack)
        [ $# -eq 0 ] || stop 2 "unexpected argument: $1"
        [ -z "$corpus" ] || ./run.sh --corpus "$corpus" --shards "$shards" --stop-stage 1
        [ -e "$train_set/wav.scp" ] && [ -e "$valid_set/wav.scp" ] ||
            stop 2 "no $train_set or no $valid_set; --corpus DIR makes them, as run.sh --stop-stage 1 does"
        [ -f "../../../audiocodec/configs/$config.yaml" ] || [ -f "$config" ] || stop 2 "no such configuration: $config"
        [ -n "$init_from" ] || [ ! -e "$start/model.safetensors" ] || init_from=$start
        words=() more=()
        read -ra words <<<"$settings"
        for word in "${words[@]}"; do
            more+=(--set "$word")
        done
        [ -z "$then" ] || [ -f "../../../audiocodec/configs/$then.yaml" ] || [ -f "$then" ] || stop 2 "no such configuration: $then"
        python local/lease/pack.py --config "$config" --then "$then" --train "$train_set" --valid "$valid_set" --out "$lease" --tree ../../.. \
            --init-from "$init_from" --python-version "$python_version" --wheels "$wheels" --call-mib "$call_mib" \
            --leave-out "$leave_out" "${more[@]}"
        ;;
    calls)
        [ $# -eq 0 ] || stop 2 "unexpected argument: $1"
        seconds() {
            awk -v minutes="$1" 'BEGIN {printf "%.0f", 60 * minutes}'
        }
        python local/lease/plan.py --lease "$lease" --tree ../../.. --there "$there" --legs "$legs" --then-share "$then_share" \
            --total-seconds "$(seconds "$total_minutes")" --call-seconds "$(seconds "$call_minutes")" \
            --start-seconds "$start_seconds" --reserve-seconds "$reserve_seconds" --answer-seconds "$answer_seconds" \
            --mib-seconds "$mib_seconds" --smoke-seconds "$smoke_seconds" --starting-seconds "$starting_seconds"
        ;;
    unpack)
        [ $# -ge 1 ] || stop 2 "say what came back: lease.sh unpack FOLDER ..."
        folders=()
        for folder in "$@"; do
            [[ $folder = /* ]] || folder=$here/$folder
            folders+=("$folder")
        done
        python local/lease/unpack.py --lease "$lease" --run "$run" --start "$start" --force "$force" "${folders[@]}"
        ;;
    *) stop 2 "usage: lease.sh pack|calls|unpack [--option value ...]; lease.sh pack --help lists the options" ;;
esac
