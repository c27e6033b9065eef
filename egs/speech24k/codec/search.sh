#!/usr/bin/env bash
# Short runs, each with one thing changed, before a long one: a run for each row of conf/search.tsv, trained in
# search/exp/NAME, scored in search/scores/NAME on the held-out speakers of data/valid (run.sh --stop-stage 1 makes the folders; dev is
# not looked at). A finished row is not done again, a killed one goes on. The tables: search/RESULTS.md.
# egs/collapse has a runner of its own: its rows share one trained autoencoder, several train at a time, and a collapse is a result.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")"
. ./path.sh

rows=                       # names in conf/search.tsv, separated by commas (default: all)
config=speech_24k_search    # what is changed: a name in audiocodec/configs, or a file
metrics=pesq,stoi,mel,dnsmos,level,pitch  # what to score
. ../../../recipes/utils/parse_options.sh

stop() { # stop STATUS MESSAGE
    echo "search.sh: $2" >&2
    exit "$1"
}

# train_row NAME BEGINS_WITH MINUTES OVERRIDES
train_row() {
    local exp=search/exp/$1 setting settings=() words=()
    read -ra words <<<"$4"
    [ "$2" = - ] || settings+=(--init-from "$2" --set train.warmup_autoencoder_steps=0 --set train.learning_rate=5e-4)
    for setting in data.train=data/train data.valid= "train.minutes=$3" "${words[@]}"; do
        settings+=(--set "$setting")
    done
    audiocodec train --config "$config" --exp "$exp" --resume "${settings[@]}"
}

# score_row NAME
score_row() {
    local out=search/scores/$1
    audiocodec evaluate -m "search/exp/$1" --reference data/valid/wav.scp -d "$out" --metrics "$metrics" --resume --quiet ||
        [ -e "$out/summary.json" ] || stop 1 "$out: could not be scored"
}

[ $# -eq 0 ] || stop 2 "unexpected argument: $1"
[ -f "../../../audiocodec/configs/$config.yaml" ] || [ -f "$config" ] || stop 2 "no such configuration: $config"
[ -e "data/train/wav.scp" ] && [ -e "data/valid/wav.scp" ] || stop 2 "no data/train and data/valid; run.sh --stop-stage 1 makes them"
rows=${rows:-$(tail -n +2 conf/search.tsv | cut -f 1 | paste -sd,)}
row_of() { # row_of NAME
    awk -F '\t' -v name="$1" 'NR > 1 && $1 == name' conf/search.tsv
}
for name in ${rows//,/ }; do
    [ -n "$(row_of "$name")" ] || stop 2 "conf/search.tsv has no row '$name'"
done
scores=() times=() unscored=
for name in ${rows//,/ }; do
    row=$(row_of "$name")
    echo "$(date +%T) $name" >&2
    mkdir -p "search/exp/$name"
    made="$config $metrics $row"
    [ "$(cat "search/exp/$name/row" 2>/dev/null || echo "$made")" = "$made" ] ||
        stop 2 "search/exp/$name was made by other options or another row; remove it and search/scores/$name"
    echo "$made" >"search/exp/$name/row"
    begins=$(cut -f 2 <<<"$row") minutes=$(cut -f 3 <<<"$row") changed=$(cut -f 4 <<<"$row")
    if [ ! -e "search/scores/$name/summary.json" ]; then
        train_row "$name" "$begins" "$minutes" "$changed"
        score_row "$name"
    fi
    scores+=("search/scores/$name")
    grep -q '"n_rows_with_failures": 0' "search/scores/$name/summary.json" || unscored+=" $name"
    seconds=$(sed 's/.*"seconds": \([0-9.]*\).*/\1/' "search/exp/$name/runs.jsonl" | awk '{sum += $1} END {printf "%.0f", sum}')
    times+=("| $name | $begins | $minutes | $changed | $seconds |")
done
audiocodec evaluate --quiet --results-md search/RESULTS.md --results-command "./search.sh ${GIVEN_OPTIONS[*]}" "${scores[@]}"
{
    printf '\n| run | begins with | minutes | changed | training, s |\n|---|---|---|---|---|\n'
    printf '%s\n' "${times[@]}"
} >>search/RESULTS.md
cat search/RESULTS.md
[ -z "$unscored" ] || stop 1 "some utterances have no score, see search/scores/NAME/rows.jsonl:$unscored"
