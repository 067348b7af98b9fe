# Completion of labyrinth(1) for bash.
# shellcheck shell=bash

_labyrinth() {
    local word=$2 previous=$3 command=${COMP_WORDS[1]}
    local commands="run doctor stat metrics buddyinfo slabinfo map top diff profile query trace replay bench"

    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --usage --version" -- "$word")
        return
    fi
    case $command in
    run)
        _labyrinth_in_program "--set -s --profile -p --library -l" && return
        case $previous in
        --profile | -p) mapfile -t COMPREPLY < <(compgen -W "default small rt secure debug" -- "$word") ;;
        --library | -l) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        *)
            case $word in
            -*) mapfile -t COMPREPLY < <(compgen -W "--set --profile --report --check-atomic --library --help --" -- "$word") ;;
            *) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
            esac
            ;;
        esac
        ;;
    trace)
        _labyrinth_in_program "--output -o" && return
        case $word in
        -*) mapfile -t COMPREPLY < <(compgen -W "--output --help --" -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
        esac
        ;;
    replay) mapfile -t COMPREPLY < <(compgen -f -W "--alloc --peers --rounds --timeout --json --help" -- "$word") ;;
    bench) mapfile -t COMPREPLY < <(compgen -W "run report compare scaling latency --help --quick --only --rounds --peers --alloc" -- "$word") ;;
    diff) mapfile -t COMPREPLY < <(compgen -f -W "--json --help" -- "$word") ;;
    doctor)
        mapfile -t COMPREPLY < <(compgen -c -W "--json --help $(_labyrinth_pids)" -- "$word")
        ;;
    profile) mapfile -t COMPREPLY < <(compgen -f -W "--type --top --folded --svg --json --help" -- "$word") ;;
    metrics) mapfile -t COMPREPLY < <(compgen -W "--json --label --prometheus --help $(_labyrinth_pids)" -- "$word") ;;
    map) mapfile -t COMPREPLY < <(compgen -W "--svg --json --color --help $(_labyrinth_pids)" -- "$word") ;;
    top) mapfile -t COMPREPLY < <(compgen -W "--interval --count --sort --help $(_labyrinth_pids)" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "--json --help $(_labyrinth_pids)" -- "$word") ;;
    esac
}

# _labyrinth_pids: processes that have the library mapped, as far as one may see.
_labyrinth_pids() {
    grep -ls liblabyrinth /proc/[0-9]*/maps 2>/dev/null | tr -dc '0-9\n'
}

# _labyrinth_in_program OPTIONS: completes what is the program's, behind options of which these take a value. False: the
# word is still one of the tool's own.
_labyrinth_in_program() {
    local i

    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --)
            _labyrinth_program $((i + 1))
            return 0
            ;;
        -*) [[ " $1 " == *" ${COMP_WORDS[i]} "* ]] && i=$((i + 1)) ;;
        *)
            _labyrinth_program "$i"
            return 0
            ;;
        esac
    done
    return 1
}

# _labyrinth_program WORD: completes as if the line began with that word of it.
_labyrinth_program() {
    if declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif [ "$1" = "$COMP_CWORD" ]; then
        mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
    fi
}

complete -F _labyrinth labyrinth
