#!/usr/bin/env bash
# From a trained experiment to a model of the package and its card: 16-bit weights and the discriminators that were trained with them, a
# prior for compressed token files, scores of that very file on dev and its changed copies (run.sh --stop-stage 1 --conditions true
# makes them), the card with conf/about_<model>.md and conf/audio.md, and what tests/golden holds the model to. What is finished is
# not made again; scores of another file stop the card. The package is changed last, when all is there.
[ -n "${BASH_VERSION:-}" ] && [ "${BASH##*/}" = bash ] || exec bash "$0" "$@"
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")"
. ./path.sh

exp=                        # experiment (a relative path counts from this folder)
model=single                # single or residual
name=                       # of the model: a folder in audiocodec/pretrained (default: speech_24k, speech_24k_residual)
prior_minutes=20            # to train the prior; 0: none
prior_every=1               # on every so many clips of data/train
prior_from=                 # prior to begin with: that of the model that EXP began with (default: random weights)
baselines=                  # folder that audiocodec compare wrote, with results of other codecs on dev
repository=                 # org/name on a hub to push the model and its card to, too (default: nothing is pushed)
license=unknown             # of the pushed model, such as apache-2.0
. ../../../recipes/utils/parse_options.sh

stop() { # stop STATUS MESSAGE
    echo "package.sh: $2" >&2
    exit "$1"
}

# score FOLDER SET [OPTION ...]
score() {
    local out=$made/$1 set=$2
    shift 2
    if [ ! -e "$out/summary.json" ]; then
        echo "$(date +%T) $out" >&2
        audiocodec evaluate -m "$made/model.safetensors" --reference "data/$set/wav.scp" -d "$out" --resume --quiet "$@" ||
            [ -e "$out/summary.json" ] || stop 1 "$out: could not be scored"
    fi
    [ "$set" = dev_silence ] || grep -q '"n_rows_with_failures": 0' "$out/summary.json" ||
        stop 1 "$out: some utterances have no score (rows.jsonl says why)"
}

[ $# -eq 0 ] || stop 2 "unexpected argument: $1"
[ -d "$exp/checkpoints" ] || stop 2 "say which experiment: --exp DIR"
case $model in
    single) name=${name:-speech_24k} ;;
    residual) name=${name:-speech_24k_residual} ;;
    *) stop 2 "--model is single or residual, got '$model'" ;;
esac
made=$exp/package
mkdir -p "$made"
audiocodec export "$exp" --half --force --measure-error data/train/wav.scp -o "$made/model.safetensors"

python local/discriminators.py "$exp" "$made/discriminators.safetensors"
if [ "$prior_minutes" != 0 ] && [ ! -e "$made/prior.safetensors" ]; then
    mkdir -p "$made/lists/train" "$made/lists/valid"
    awk -v every="$prior_every" 'NR % every == 0' data/train/wav.scp >"$made/lists/train/wav.scp"
    cp data/valid/wav.scp "$made/lists/valid"
    for set in valid train; do
        audiocodec tokenize "$made/lists/$set" -m "$made/model.safetensors" -d "$made/tokens/$set" --quiet
    done
    audiocodec prior "$made/tokens/train" -m "$made/model.safetensors" --valid "$made/tokens/valid" --minutes "$prior_minutes" \
        -o "$made/prior.safetensors" ${prior_from:+--init-from "$prior_from"}
fi

plain=pesq,stoi,mel
full=$plain,dnsmos,level,pitch
rows=()
if [ "$model" = single ]; then
    condition='' options=()
    score dev dev --metrics $full
    rows+=(--evaluation "dev=$made/dev")
else
    condition=', 4 of 8' options=(--num-codebooks 4)
    for count in 1 2 4 8; do
        metrics=$plain
        case $count in 4 | 8) metrics=$full ;; esac
        score "dev_$count" dev --num-codebooks "$count" --metrics "$metrics"
        rows+=(--evaluation "dev, $count of 8 codebooks=$made/dev_$count")
    done
fi
for set in data/dev_*; do
    [ -e "$set" ] || stop 1 "no changed copies of dev; run.sh --stop-stage 1 --conditions true makes them"
    set=${set#data/}
    score "$set" "$set" --metrics "$plain" "${options[@]}"
    rows+=(--evaluation "$set$condition=$made/$set")
done
for baseline in opus-6 codec2-1200 codec2-3200; do
    [ -z "$baselines" ] || rows+=(--baseline "dev, $baseline=$baselines/$baseline")
done
cat "conf/about_$model.md" conf/audio.md >"$made/about.md"
audiocodec card "$exp" -m "$made/model.safetensors" --title "$name" "${rows[@]}" --about "$made/about.md" \
    --picture "$made/training.png" -o "$made/CARD.md" --force
package=../../../audiocodec/pretrained/$name
mkdir -p "$package"
for file in model.safetensors discriminators.safetensors prior.safetensors training.png CARD.md; do
    rm -f "$package/$file"
    [ ! -e "$made/$file" ] || cp "$made/$file" "$package"
done
golden=../../../tests/golden/make_models.py
[ ! -e "$golden" ] || python "$golden" "$name"
[ -z "$repository" ] || audiocodec push "$made" "$repository" --license "$license"
