#!/usr/bin/env bash
# Does a stable discrete space let a language model generate (DiGIT, arXiv 2410.12490)? The same language model, trained on tokens of
# several quantizers at equal bitrate. Stages: 0 models of egs/collapse, 1 tokens, 2 train, 3 score, 4 continue, 5 tables and page.
# Everything is in exp/<profile>; what is finished is not done again. The tables: exp/<profile>/RESULTS.md, the page: report.html.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
unset CDPATH
cd -- "$(dirname -- "$0")"
. ./path.sh

profile=smoke   # smoke (minutes), cpu (hours on two cores) or gpu (ten minutes of one card)
rows=kmeans,simvq,vq_ema,fsq  # of egs/collapse/codec/conf/rows.tsv, separated by commas
size=1024       # codebook size of every row
models=         # more models: name=MODEL, separated by commas, MODEL as audiocodec load takes it
train_data=     # data folder of the speech to learn from (default for smoke: made from egs/mini)
dev_data=       # data folder for validation of the models
test_data=      # data folder of other speakers: scored, and continued
minutes=        # training of each language model (default: smoke 0.3, cpu 60, gpu 2)
prompts=        # utterances to continue (default: smoke 2, cpu and gpu 20)
stage=0         # first stage
stop_stage=5    # last stage
. ../../recipes/utils/parse_options.sh

stop() { # stop STATUS MESSAGE
    echo "run.sh: $2" >&2
    exit "$1"
}

[ $# -eq 0 ] || stop 2 "unexpected argument: $1"
shape=() seconds=3.2 prompt_seconds=2.4  # whole frames at 75 and 50 Hz
case $profile in
    smoke)
        minutes=${minutes:-0.3} prompts=${prompts:-2} seconds=0.8 prompt_seconds=0.8
        shape=(--dim 48 --layers 1 --heads 2 --context 48)
        ;;
    cpu) minutes=${minutes:-60} prompts=${prompts:-20} shape=(--dim 192 --layers 4 --heads 4 --context 256 --batch 4) ;;
    gpu) minutes=${minutes:-2} prompts=${prompts:-20} shape=(--dim 512 --layers 8 --heads 8 --context 512 --batch 32) ;;
    *) stop 2 "--profile is smoke, cpu or gpu, got '$profile'" ;;
esac
collapse=../collapse/codec
if [ "$profile" = smoke ] && [ -z "$train_data$test_data" ]; then
    if [ ! -d data ]; then
        rm -rf data.tmp
        audiocodec make-data ../mini/codec/local/audio data.tmp --split --dev-share 0.06 --test-share 0.28
        mv data.tmp data
    fi
    train_data=$PWD/data/train dev_data=$PWD/data/dev test_data=$PWD/data/test
fi
for folder in "$train_data" "$dev_data" "$test_data"; do
    [ -n "$folder" ] || stop 2 "say where the data is: --train-data DIR --dev-data DIR --test-data DIR"
    [ -e "$folder/wav.scp" ] || stop 2 "$folder: no data folder; audiocodec make-data makes one"
done
train_data=$(realpath "$train_data") dev_data=$(realpath "$dev_data") test_data=$(realpath "$test_data")
exp=exp/$profile
mkdir -p "$exp"

names=() codecs=()
for row in ${rows//,/ }; do
    names+=("$row") codecs+=("$collapse/exp/$profile/$row-$size")
done
for pair in ${models//,/ }; do
    [ "${pair%%=*}" != "$pair" ] || stop 2 "--models takes name=MODEL, got '$pair'"
    names+=("${pair%%=*}") codecs+=("${pair#*=}")
done
wanted() { [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ]; }
say() { echo "$(date +%T) $*" >&2; }

if wanted 0 && [ -n "$rows" ]; then
    say "stage 0: models of $rows"
    "$collapse/run.sh" --profile "$profile" --rows "$rows" --sizes "$size" --train-data "$train_data" --dev-data "$dev_data" \
        --test-data "$test_data" >/dev/null
fi
for i in "${!names[@]}"; do
    name=${names[i]} codec=${codecs[i]} out=$exp/${names[i]}
    if wanted 1; then
        say "stage 1: tokens of $name"
        audiocodec tokenize "$train_data" -d "$out/train" -m "$codec" --quiet
        audiocodec tokenize "$test_data" -d "$out/test" -m "$codec" --quiet
    fi
    if wanted 2; then
        say "stage 2: language model of $name, $minutes minutes"
        audiocodec lm train "$out/train" -m "$codec" -d "$out/lm" --minutes "$minutes" --resume "${shape[@]}" 2>>"$out/lm.log" ||
            { tail -n 5 "$out/lm.log" >&2; exit 1; }
    fi
    if wanted 3; then
        say "stage 3: scores of $name"
        [ -s "$out/score.json" ] || { audiocodec lm score "$out/lm" "$out/test" -m "$codec" >"$out/score.tmp" && mv "$out/score.tmp" "$out/score.json"; }
        [ -s "$out/probe.json" ] || { audiocodec probe "$codec" --audio "$test_data" --json >"$out/probe.tmp" && mv "$out/probe.tmp" "$out/probe.json"; }
        audiocodec evaluate -m "$codec" --reference "$test_data" -d "$out/reconstruction" --metrics pesq,stoi,mel --resume --quiet >/dev/null ||
            [ -e "$out/reconstruction/summary.json" ] || stop 1 "$out/reconstruction: could not be scored"
    fi
    if wanted 4; then
        say "stage 4: continuations of $name"
        PYTHONPATH=local python -m continuations --lm "$out/lm" --model "$codec" --data "$test_data" --tokens "$out/train" \
            --prompts "$prompts" --prompt-seconds "$prompt_seconds" --seconds "$seconds" --truth "$exp/truth" -d "$out/continued"
        audiocodec evaluate --reference "$exp/truth" --estimate "$out/continued/wav" -d "$exp/page/$name" --metrics dnsmos,speaker,pitch \
            --quiet --resume >/dev/null || [ -e "$exp/page/$name/summary.json" ] || stop 1 "$exp/page/$name: could not be scored"
    fi
done
if wanted 5; then
    say "stage 5: tables and page"
    folders=() labels=()
    for name in "${names[@]}"; do
        folders+=("$exp/page/$name") labels+=("$name")
    done
    PYTHONPATH=local python -m results --exp "$exp" --command "./run.sh ${GIVEN_OPTIONS[*]}" "${names[@]}"
    audiocodec report "${folders[@]}" --name "${labels[@]}" -o "$exp/report.html" --force --quiet
    cat "$exp/RESULTS.md"
fi
