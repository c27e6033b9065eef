#!/usr/bin/env bash
# The collapse study: every quantizer on the same audio with the same encoder, decoder, seed and number of steps, at
# several codebook sizes. The rows are in conf/rows.tsv, the model and budget of a profile in conf/<profile>.yaml. Each row
# is trained and scored in exp/<profile>/<row>-<size>; a finished one is not done again, a killed one goes on. Tables and
# plots: exp/<profile>/RESULTS.md. The exit status is 1 when a row could not run; the page says why.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")"
. ./path.sh

profile=smoke  # smoke (minutes, a few rows), cpu (hours on two cores) or gpu (half an hour on one card)
rows=          # names in conf/rows.tsv, separated by commas (default: all; smoke: four)
sizes=         # codebook sizes, separated by commas (default: what conf/rows.tsv says of each row; smoke: 1024)
train_data=    # data folder to train on, made by audiocodec make-data (default for smoke: from the audio of egs/mini)
dev_data=      # data folder for validation while training
test_data=     # data folder to score
usage_data=    # data folder to count used codes in: large, a code cannot occur more often than frames (default: test_data)
jobs=          # rows trained at a time (default: 1; gpu: 6)
. ../../../recipes/utils/parse_options.sh

stop() { # stop STATUS MESSAGE
    echo "run.sh: $2" >&2
    exit "$1"
}

[ $# -eq 0 ] || stop 2 "unexpected argument: $1"
case $profile in
    smoke)
        rows=${rows:-vq,fsq,simvq,gauss_both}
        sizes=${sizes:-1024}
        ;;
    cpu) ;;
    gpu) jobs=${jobs:-6} ;;
    *) stop 2 "--profile is smoke, cpu or gpu, got '$profile'" ;;
esac
jobs=${jobs:-1}
[[ $jobs =~ ^[1-9][0-9]*$ ]] || stop 2 "--jobs is a number from 1 on, got '$jobs'"
if [ "$profile" = smoke ] && [ -z "$train_data$dev_data$test_data" ]; then
    if [ ! -d data ]; then
        rm -rf data.tmp
        audiocodec make-data ../../mini/codec/local/audio data.tmp --split --dev-share 0.06 --test-share 0.28
        mv data.tmp data
    fi
    train_data=data/train dev_data=data/dev test_data=data/test
fi
for folder in "$train_data" "$dev_data" "$test_data"; do
    [ -n "$folder" ] || stop 2 "say where the data is: --train-data DIR --dev-data DIR --test-data DIR"
    [ -e "$folder/wav.scp" ] || stop 2 "$folder: no data folder; audiocodec make-data makes one"
done
usage_data=${usage_data:-$test_data}
[ -e "$usage_data/wav.scp" ] || stop 2 "$usage_data: no data folder; audiocodec make-data makes one"

export PYTHONPATH=local${PYTHONPATH:+:$PYTHONPATH}
exec python -m collapse --profile "$profile" --rows "$rows" --sizes "$sizes" --jobs "$jobs" --train-data "$train_data" \
    --dev-data "$dev_data" --test-data "$test_data" --usage-data "$usage_data" \
    --command "./run.sh${GIVEN_OPTIONS[*]:+ ${GIVEN_OPTIONS[*]}}"
