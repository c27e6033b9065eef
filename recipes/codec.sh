# shellcheck shell=bash
# The stages of every recipe. A run.sh sources this file, changes what its corpus needs, sources
# utils/parse_options.sh and calls run_stages:
#
#   0  get the audio                 local/download.sh
#   1  data folders, validated       local/data.sh -> data/<set>/{wav.scp,utt2spk,utt2num_samples}
#   2  train                         exp/<name>
#   3  encode the test sets          exp/<name>/tokens/<set>
#   4  decode them                   exp/<name>/wav/<set>
#   5  score                         exp/<name>/eval/<set>/{rows.jsonl,summary.json}
#   6  results table                 exp/<name>/RESULTS.md
#
# A stage writes to <out>.tmp and renames it when all is well: a killed one leaves only .tmp, and a finished one
# changes nothing when it runs again. What is older than what it was made from is made again.

RECIPES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OPTION_FILES=("${BASH_SOURCE[0]}")

stage=0                                # first stage to run
stop_stage=6                           # last stage to run
config=$RECIPES/conf/simvq_24k.yaml    # model and training configuration
name=                                  # experiment: exp/NAME (default: the name of the configuration file)
train_set=train                        # data folder to train on
valid_set=dev                          # data folder for validation while training
test_sets="test"                       # data folders to encode, decode and score, separated by spaces
train_options=                         # more options of audiocodec train, e.g. "--max-minutes 60 --set seed=2"
num_processes=1                        # training processes on this machine (GPUs, or CPU processes)
num_gpus=0                             # GPUs to ask the cluster for
device=auto                            # where encoding and decoding run: auto, cpu or cuda
num_codebooks=                         # score with fewer codebooks than the model has
metrics=                               # what to score, separated by commas (default: all of audiocodec evaluate)

# Arguments of local/download.sh, and of local/data.sh after its output folder; run.sh fills them from its own options.
DOWNLOAD_OPTIONS=()
DATA_OPTIONS=()

run_stages() {
    [ $# -eq 0 ] || stop 2 "unexpected argument: $1"
    [[ $stage =~ ^[0-6]$ && $stop_stage =~ ^[0-6]$ ]] || stop 2 "--stage and --stop-stage are 0 to 6"
    [ -e "$config" ] || stop 2 "no such configuration: $config"
    [ -n "$name" ] || name=$(basename "$config" .yaml)
    EXP=exp/$name
    local number
    for ((number = stage; number <= stop_stage; number++)); do
        "stage_$number"
    done
}

stage_0() {
    say "stage 0: audio"
    local/download.sh "${DOWNLOAD_OPTIONS[@]}"
}

stage_1() {
    say "stage 1: data folders"
    rm -rf data.tmp
    local/data.sh data.tmp "${DATA_OPTIONS[@]}"
    audiocodec validate-data data.tmp/*
    local set
    for set in data.tmp/*; do
        set=${set#data.tmp/}
        if diff -rq "data.tmp/$set" "data/$set" >/dev/null 2>&1; then
            say "data/$set: unchanged"
        else
            mkdir -p data
            rm -rf "data/$set"
            mv "data.tmp/$set" "data/$set"
            say "data/$set: $(wc -l <"data/$set/wav.scp") utterances"
        fi
    done
    rm -r data.tmp
}

stage_2() {
    say "stage 2: train $EXP; its output goes to $EXP/logs/train.log"
    local command=(audiocodec train) more=()
    if [ "$num_processes" -gt 1 ]; then
        command=(python -m torch.distributed.run --standalone --nproc_per_node "$num_processes" -m audiocodec.cli.main train)
    fi
    read -ra more <<<"$train_options"
    "$TRAIN_CMD" --gpus "$num_gpus" "$EXP/logs/train.log" "${command[@]}" --config "$config" --exp "$EXP" --resume \
        --set "data.train=data/$train_set" --set "data.valid=data/$valid_set" "${more[@]}"
}

stage_3() {
    local set weights options=(--model "$EXP" --device "$device")
    weights=$(find "$EXP/checkpoints" -path '*/step_*/model.safetensors' ! -path '*.tmp/*' 2>/dev/null | sort | tail -n 1)
    [ -n "$weights" ] || stop 1 "$EXP holds no checkpoint; run stage 2"
    [ -z "$num_codebooks" ] || options+=(--num-codebooks "$num_codebooks")
    for set in $test_sets; do
        say "stage 3: encode $set"
        make_folder "$EXP/tokens/$set" "$weights" "data/$set" -- \
            audiocodec encode "data/$set/wav.scp" "${options[@]}" --resume -d
    done
}

stage_4() {
    local set
    for set in $test_sets; do
        say "stage 4: decode $set"
        make_folder "$EXP/wav/$set" "$EXP/tokens/$set" -- \
            audiocodec decode "$EXP/tokens/$set" --model "$EXP" --device "$device" --resume -d
    done
}

stage_5() {
    local set options=()
    [ -z "$metrics" ] || options+=(--metrics "$metrics")
    for set in $test_sets; do
        say "stage 5: score $set"
        make_folder "$EXP/eval/$set" "$EXP/wav/$set" -- \
            audiocodec evaluate --reference "data/$set/wav.scp" --estimate "$EXP/wav/$set" --tokens "$EXP/tokens/$set" \
            "${options[@]}" -d
    done
}

stage_6() {
    say "stage 6: results"
    local summaries=() set
    for set in $test_sets; do
        summaries+=("$EXP/eval/$set/summary.json")
    done
    python "$RECIPES/utils/results.py" "${summaries[@]}" >"$EXP/RESULTS.md.tmp"
    mv "$EXP/RESULTS.md.tmp" "$EXP/RESULTS.md"
    cat "$EXP/RESULTS.md"
}

# make_folder OUT SOURCE... -- COMMAND...: runs COMMAND OUT.tmp and renames it, unless OUT is there and newer than
# every SOURCE. An unfinished OUT.tmp that is newer than the sources is continued.
make_folder() {
    local out=$1 sources=() source
    shift
    while [ "$1" != -- ]; do
        sources+=("$1")
        shift
    done
    shift
    for source in "${sources[@]}"; do
        [ -e "$source" ] || stop 1 "$source is missing; run the stage before"
        [ ! -e "$out" ] || [ ! "$out" -ot "$source" ] || { say "$out: older than $source, made again"; rm -r "$out"; }
        [ ! -e "$out.tmp" ] || [ ! "$out.tmp" -ot "$source" ] || rm -r "$out.tmp"
    done
    if [ -e "$out" ]; then
        say "$out: is finished"
        return
    fi
    mkdir -p "$(dirname "$out")"
    "$JOB_CMD" --gpus "$num_gpus" "$EXP/logs/$(basename "$(dirname "$out")")-$(basename "$out").log" "$@" "$out.tmp"
    [ -n "$(ls -A "$out.tmp" 2>/dev/null)" ] || stop 1 "$out.tmp: the command wrote nothing"
    mv "$out.tmp" "$out"
}

say() {
    echo "$(date +%T) $*" >&2
}

stop() { # stop STATUS MESSAGE
    echo "$(basename "$0"): $2" >&2
    exit "$1"
}
