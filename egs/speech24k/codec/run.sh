#!/usr/bin/env bash
# Models like those in the package, speech_24k and its residual sister, from a corpus of many voices to scores and card. README.md says how
# the corpus is laid out. Training saves often, stops after --max-minutes, and the same command goes on exactly where it was; its
# checkpoints keep the discriminators (only --profile gpu trains any), so that others can fine-tune (--init-from exp/NAME). run.sh --help lists the options.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")"
. ./path.sh
. ../../../recipes/codec.sh
. ./cmd.sh

corpus=           # folder with train.tsv, its tars, dev.tsv and dev/ (a relative path counts from this folder)
shards=           # tars to train on, separated by spaces (default: all that train.tsv names)
model=single      # single (one codebook of 65,536) or residual (eight of 1,024; begin with --init-from speech_24k)
profile=cpu       # cpu (a few cores, hours) or gpu (one card, an hour: train.minutes)
max_minutes=      # save and stop training after so many; the same command goes on
init_from=        # model to begin with: a name, a file, or an experiment, which brings its discriminators, too
held_out=48       # clips taken from train, with their speakers, for validation; dev is only reported on
conditions=false  # score changed copies of dev, too; the silent ones have no PESQ, so say --allow-unscored true
config=           # configuration: a name in audiocodec/configs, or a file (default: that of --model and --profile)
num_gpus=         # GPUs to ask the cluster for (default: 1 with --profile gpu, else 0)
valid_set=valid
test_sets="dev"
about=            # Markdown for the end of the card: known failures, audio and licences
. ../../../recipes/utils/parse_options.sh

case $model in
    single) kind= ;;
    residual) kind=_residual ;;
    *) stop 2 "--model is single or residual, got '$model'" ;;
esac
case $profile in
    cpu) size='' gpus=0 ;;
    gpu) size=_gpu gpus=1 ;;
    *) stop 2 "--profile is cpu or gpu, got '$profile'" ;;
esac
config=${config:-speech_24k$kind$size}
num_gpus=${num_gpus:-$gpus}

DOWNLOAD_OPTIONS=("$corpus" "$shards")
DATA_OPTIONS=("$corpus" "$shards" "$held_out")
if [ "$conditions" = true ]; then
    changes=(level clipping telephone noise room talker music silence)
    DATA_OPTIONS+=("${changes[@]}")
    test_sets+=$(printf ' dev_%s' "${changes[@]}")
fi
[ -z "$max_minutes" ] || TRAIN_OPTIONS+=(--max-minutes "$max_minutes")
[ -z "$init_from" ] || TRAIN_OPTIONS+=(--init-from "$init_from")
write_card() { # called by stage 6
    local set rows=()
    for set in $test_sets; do
        rows+=(--evaluation "$set=$EXP/eval/$set")
    done
    [ -z "$about" ] || rows+=(--about "$about")
    audiocodec card "$EXP" --title "$name" "${rows[@]}" --picture "$EXP/training.png" -o "$EXP/CARD.md" --force
    say "card: $EXP/CARD.md"
}
run_stages "$@"
