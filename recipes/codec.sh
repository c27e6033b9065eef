# shellcheck shell=bash
# The stages of every recipe. A run.sh sources this file, changes what its corpus needs, sources
# utils/parse_options.sh and calls run_stages:
#
#   0  get the audio                 local/download.sh
#   1  data folders, validated       local/data.sh -> data/<set>/{wav.scp,utt2spk,utt2num_samples}
#   2  train                         exp/<name>
#   3  encode the test sets          exp/<name>/tokens/<set>
#   4  decode them                   exp/<name>/wav/<set>, and a list of it, exp/<name>/wav/<set>.scp
#   5  score                         exp/<name>/eval/<set>/{rows.jsonl,summary.json}
#   6  results table, pages          exp/<name>/{RESULTS.md,report_<set>.html}
#   7  push the model to a hub       only with --repository org/name
#
# A stage writes to <out>.tmp and renames it when all is well: a killed one leaves only .tmp, and a finished one
# changes nothing when it runs again. What is older than what it was made from is made again.

RECIPES=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034  # read by utils/parse_options.sh
OPTION_FILES=("${BASH_SOURCE[0]}")

stage=0                                # first stage to run
stop_stage=7                           # last stage to run
config=simvq_24k                       # model and training configuration: a name in audiocodec/configs, or a file
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
repository=                            # org/name on a hub to push the model and its card to (default: nothing is pushed)
license=unknown                        # of the pushed model, such as apache-2.0
allow_unscored=false                   # exit status 0 although some utterances have no score in some metric

# Arguments of local/download.sh, of local/data.sh after its output folder, and more of audiocodec train; run.sh fills them from
# its own options.
DOWNLOAD_OPTIONS=()
DATA_OPTIONS=()
TRAIN_OPTIONS=()

run_stages() {
    [ $# -eq 0 ] || stop 2 "unexpected argument: $1"
    [[ $stage =~ ^[0-7]$ && $stop_stage =~ ^[0-7]$ ]] || stop 2 "--stage and --stop-stage are 0 to 7"
    [ "$stage" -le "$stop_stage" ] || stop 2 "--stage $stage comes after --stop-stage $stop_stage"
    [[ $num_processes =~ ^[1-9][0-9]*$ ]] || stop 2 "--num-processes is a number from 1 on, got '$num_processes'"
    [[ $num_gpus =~ ^[0-9]+$ ]] || stop 2 "--num-gpus is a number, got '$num_gpus'"
    [[ $num_codebooks =~ ^([1-9][0-9]*)?$ ]] || stop 2 "--num-codebooks is a number from 1 on, got '$num_codebooks'"
    [ "$stage" != 7 ] || [ -n "$repository" ] || stop 2 "--stage 7 pushes the model to a hub: say --repository org/name"
    [ -n "$train_set" ] || stop 2 "--train-set is empty"
    [ -n "${test_sets// /}" ] || [ "$stop_stage" -lt 3 ] || stop 2 "--test-sets is empty"
    [ -f "$RECIPES/../audiocodec/configs/$config.yaml" ] || [ -f "$config" ] || stop 2 "no such configuration: $config"
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
        if diff -rq -x pitch.safetensors "data.tmp/$set" "data/$set" >/dev/null 2>&1; then
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
        command=(python -m torch.distributed.run --standalone --nproc_per_node "$num_processes" -m audiocodec train)
    fi
    [ -z "$valid_set" ] || more+=(--set "data.valid=data/$valid_set")
    local given=()
    read -ra given <<<"$train_options"
    record_options 2
    "$TRAIN_CMD" --gpus "$num_gpus" --log "$EXP/logs/train.log" "${command[@]}" --config "$config" --exp "$EXP" --resume \
        --set "data.train=data/$train_set" "${more[@]}" "${TRAIN_OPTIONS[@]}" "${given[@]}"
}

stage_3() {
    local set weights options=(--model "$EXP" --device "$device")
    weights=$(find "$EXP/checkpoints" -path '*/step_*/model.safetensors' ! -path '*.tmp/*' 2>/dev/null | sort | tail -n 1) || true
    [ -n "$weights" ] || stop 1 "$EXP holds no checkpoint; run stage 2"
    [ -z "$num_codebooks" ] || options+=(--num-codebooks "$num_codebooks")
    for set in $test_sets; do
        say "stage 3: encode $set"
        make_folder 3 "$EXP/tokens/$set" "$weights" "data/$set" -- --out "$EXP/tokens/$set.tmp/timings.jsonl" \
            audiocodec encode "data/$set/wav.scp" "${options[@]}" --resume --json -d
    done
}

stage_4() {
    local set
    for set in $test_sets; do
        say "stage 4: decode $set"
        make_folder 4 "$EXP/wav/$set" "$EXP/tokens/$set" -- --out "$EXP/wav/$set.tmp/timings.jsonl" \
            audiocodec decode "$EXP/tokens/$set" --model "$EXP" --device "$device" --resume --json -d
        [ "$EXP/wav/$set.scp" -nt "$EXP/wav/$set" ] || list_audio "$EXP/wav/$set"
    done
}

# list_audio FOLDER: writes FOLDER.scp, a line for each decoded file: the name of the utterance, and the path.
list_audio() {
    local path id
    find "$1" -name '*.wav' | LC_ALL=C sort | while IFS= read -r path; do
        id=${path#"$1/"}
        printf '%s %s\n' "${id%.wav}" "$path"
    done >"$1.scp.tmp"
    mv "$1.scp.tmp" "$1.scp"
}

stage_5() {
    local set options=()
    [ -z "$metrics" ] || options+=(--metrics "$metrics")
    for set in $test_sets; do
        say "stage 5: score $set"
        make_folder 5 "$EXP/eval/$set" "$EXP/wav/$set" -- \
            audiocodec evaluate --reference "data/$set/wav.scp" --estimate "$EXP/wav/$set" --tokens "$EXP/tokens/$set" \
            --made-by "$EXP" --timings "$EXP/tokens/$set/timings.jsonl" "$EXP/wav/$set/timings.jsonl" "${options[@]}" --resume -d
    done
}

stage_6() {
    say "stage 6: results"
    local folders=() set unscored=0
    for set in $test_sets; do
        [ -e "$EXP/eval/$set" ] || stop 1 "$EXP/eval/$set is missing; run the stage before"
        folders+=("$EXP/eval/$set")
    done
    audiocodec evaluate --quiet --results-md "$EXP/RESULTS.md" --results-command "$(results_command)" \
        "${folders[@]}"
    cat "$EXP/RESULTS.md"
    ! declare -F write_card >/dev/null || write_card # a recipe may have one
    for set in $test_sets; do # their utterances differ: no page can hold two of them
        audiocodec report "$EXP/eval/$set" --output "$EXP/report_${set//\//-}.html" --title "$name, $set" --force
        grep -q '"n_rows_with_failures": 0' "$EXP/eval/$set/summary.json" || unscored=1
    done
    [ "$unscored" = 0 ] || [ "$allow_unscored" = true ] ||
        stop 1 "some utterances have no score (rows.jsonl says why); --allow-unscored true accepts that"
}

stage_7() {
    [ -n "$repository" ] || return 0
    say "stage 7: push $EXP to $repository"
    audiocodec push "$EXP" "$repository" --license "$license"
}

# record_options STAGE: keeps the options that a stage really ran with, for the results page.
record_options() {
    mkdir -p "$EXP/logs"
    printf '%s' "${GIVEN_OPTIONS[*]}" >"$EXP/logs/stage_$1.options"
}

# results_command: what one types to get the numbers there are: one command, or one for each run of stages that were
# started with options of their own.
results_command() {
    local number first=0 said='' before='' lines=()
    for number in 2 3 4 5; do
        said=$(cat "$EXP/logs/stage_$number.options" 2>/dev/null) || said=${GIVEN_OPTIONS[*]}
        if [ "$number" -gt 2 ] && [ "$said" != "$before" ]; then
            lines+=("./run.sh --stage $first --stop-stage $((number - 1))${before:+ $before}")
            first=$number
        fi
        before=$said
    done
    [ "$first" = 0 ] && lines+=("./run.sh${before:+ $before}") || lines+=("./run.sh --stage $first${before:+ $before}")
    (IFS=$'\n' && printf '%s' "${lines[*]}")
}

# make_folder STAGE OUT SOURCE... -- JOB...: runs JOB OUT.tmp and renames that to OUT, unless OUT is there, newer than every
# SOURCE and made by the same JOB. An unfinished OUT.tmp of which that is true is continued. Only an evaluation may end with an exit status
# other than 0: one that wrote its summary is finished, though some utterances have no score.
make_folder() {
    local number=$1 out=$2 sources=() source log
    shift
    log=$EXP/logs/$(basename "$(dirname "$out")")-$(basename "$out")
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
    mkdir -p "$(dirname "$out")" "$EXP/logs"
    if [ "$(cat "$log.command" 2>/dev/null)" != "$*" ]; then
        [ ! -e "$out" ] || say "$out: made by another command, made again"
        rm -rf "$out" "$out.tmp"
        printf '%s\n' "$*" >"$log.command"
    fi
    if [ -e "$out" ]; then
        say "$out: is finished"
        return
    fi
    record_options "$number"
    "$JOB_CMD" --gpus "$num_gpus" --log "$log.log" "$@" "$out.tmp" || [ -e "$out.tmp/summary.json" ] || exit 1
    [ -n "$(ls -A "$out.tmp" 2>/dev/null)" ] || stop 1 "$out.tmp: the command wrote nothing"
    find "$out.tmp" -name '.*.tmp' -delete # what a killed run had begun
    mv "$out.tmp" "$out"
}

say() {
    echo "$(date +%T) $*" >&2
}

stop() { # stop STATUS MESSAGE
    echo "$(basename "$0"): $2" >&2
    exit "$1"
}
