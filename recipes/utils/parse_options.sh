# shellcheck shell=bash
# Command-line options for a script. Source it after the script's variables:
#
#     nj=4    # parallel jobs
#     audio=  # folder of audio
#     . utils/parse_options.sh
#
# Every assignment at the beginning of a line above this point, in the script itself and in the files listed in the
# array `OPTION_FILES`, is an option: --nj 8, --nj=8; `-` and `_` are the same in a name; upper-case names are not
# options. An unknown option is fatal, and so is anything but true or false for an option that is one of them.
# What follows the options stays in "$@"; the array GIVEN_OPTIONS holds what was given, but for the stages. --help prints the options, the comments behind them and their values.

_po_script=$(basename "$0")

_po_fail() {
    echo "$_po_script: $1" >&2
    exit 2
}

# _po_declared FILE...: the lines "name=default  # help" of the options, in the files' order, each name once.
_po_declared() {
    local _po_file
    for _po_file in "$@"; do
        sed -n -e '/^\. .*parse_options\.sh/q' -e '/^[a-z][a-z0-9_]*=/p' "$_po_file"
    done | awk -F= '!seen[$1]++'
}

_po_help() {
    local _po_line _po_text
    echo "usage: $_po_script [--option value ...]"
    while IFS= read -r _po_line; do
        _po_name=${_po_line%%=*}
        _po_text=
        [[ $_po_line != *' # '* ]] || _po_text="${_po_line#* # } "
        printf '  --%-18s %s[%s]\n' "${_po_name//_/-}" "$_po_text" "${!_po_name}"
    done < <(_po_declared "${_po_files[@]}")
}

_po_files=("${BASH_SOURCE[1]}")
[ -e "${_po_files[0]}" ] || _po_files=("./${_po_files[0]##*/}") # called by a relative path, and changed into its folder
# shellcheck disable=SC2154  # a script that lists no files has its own options only
[ -z "${OPTION_FILES+set}" ] || _po_files+=("${OPTION_FILES[@]}")
GIVEN_OPTIONS=()
mapfile -t _po_names < <(_po_declared "${_po_files[@]}" | sed 's/=.*//')

while [ $# -gt 0 ]; do
    case $1 in
        --help | -h)
            _po_help
            exit 0
            ;;
        --)
            shift
            break
            ;;
        --*=*)
            _po_name=${1%%=*}
            _po_value=${1#*=}
            shift
            ;;
        --*)
            [ $# -ge 2 ] || _po_fail "option $1 needs a value"
            _po_name=$1
            _po_value=$2
            shift 2
            ;;
        -?*) _po_fail "unknown option $1; options begin with --" ;;
        *) break ;;
    esac
    _po_name=${_po_name#--}
    _po_name=${_po_name//-/_}
    if [[ " ${_po_names[*]} " != *" $_po_name "* ]]; then
        _po_names=("${_po_names[@]//_/-}")
        _po_fail "unknown option --${_po_name//_/-}; there are: ${_po_names[*]/#/--}"
    fi
    case ${!_po_name}:$_po_value in
        true:true | true:false | false:true | false:false) ;;
        true:* | false:*) _po_fail "option --${_po_name//_/-} is true or false, got '$_po_value'" ;;
    esac
    printf -v "$_po_name" '%s' "$_po_value"
    case $_po_name in
        stage | stop_stage | repository | license) ;; # change no number
        *) GIVEN_OPTIONS+=("--${_po_name//_/-}" "$(printf '%q' "$_po_value")") ;;
    esac
done
unset _po_files _po_name _po_names _po_script _po_value
unset -f _po_declared _po_fail _po_help
