# What shtab's script for bash leaves out: names of kernels and servers, and words that have quotes, `:` or `=` in them.

_kernel_bridge_kernels() { _kernel_bridge_names "--kernels=$1"; }
_kernel_bridge_servers() { _kernel_bridge_names "--servers=$1"; }

# Print names, quoted as the word at the cursor is. Whoever names a server by its URL gets none: only a secret opens it.
_kernel_bridge_names() {
    local name
    [[ " ${COMP_WORDS[*]} " == *' --base-url '* ]] && return
    @COMMAND@ completion "$1" 2>/dev/null </dev/null | while IFS= read -r name; do
        case $quote in
            '"') printf '%s\n' "$name" ;; # no name has what double quotes do not make plain
            "'") printf '%s\n' "${name//\'/\'\\\'\'}" ;;
            *) printf '%q\n' "$name" ;;
        esac
    done
}

# Print the files that begin with a text. Bash quotes them; no control character comes near the terminal.
_kernel_bridge_files() {
    local file typed=$1 home=
    [[ $typed == '~/'* ]] && home=$HOME typed=${typed#'~'}
    set +f
    for file in "$home$typed"*; do
        [[ -e $file || -L $file ]] || continue
        [[ $file == *[[:cntrl:]]* ]] || printf '%s\n' "${home:+~}${file#"$home"}"
    done
}

# Put the words up to the cursor into `words`. Bash has broken them at `:`, `=` and `@` as well.
_kernel_bridge_words() {
    local line=${COMP_LINE:0:COMP_POINT} rest word i last=-1
    for ((i = 0; i <= COMP_CWORD; i++)); do
        rest=${line#"${line%%[![:space:]]*}"}
        word=${COMP_WORDS[i]}
        ((i < COMP_CWORD)) || word=$rest
        if [[ $last -ge 0 && $rest == "$line" && ($word == [:=@]* || ${words[last]} == *[:=@]) ]]; then
            words[last]+=$word
        else
            words[++last]=$word
        fi
        line=${rest#"$word"}
    done
}

_kernel_bridge() {
    local IFS=$' \t\n' quote= head= trim= word typed reply i
    local -a words=() replies=()
    _kernel_bridge_words
    typed=${words[${#words[@]} - 1]}
    for ((i = 0; i < ${#typed}; i++)); do # readline replaces what stands behind the last `:` or `=`, or from `@` on
        word=${typed:i:1}
        [[ $word == [:=@] && $COMP_WORDBREAKS == *"$word"* ]] && trim=${typed:0:i}${word#@}
    done
    [[ $typed == --*=* ]] && head=${typed%%=*}= typed=${typed#*=}
    case $typed in
        [\"\']*) quote=${typed:0:1} typed=${typed:1} ;;
        *) typed=${typed//\\/} ;;
    esac

    # shtab takes each word for an option, a value or an argument.
    local -a COMP_WORDS=()
    for word in "${words[@]:0:${#words[@]}-1}" ${head:+"${head%=}"}; do
        case $word in
            --*=*) COMP_WORDS+=("${word%%=*}" "${word#*=}") ;;
            -[!-]?*) ;; # an option and its value
            *) COMP_WORDS+=("$word") ;;
        esac
    done
    local COMP_CWORD=${#COMP_WORDS[@]}
    COMP_WORDS+=("$typed")
    _shtab_kernel_bridge

    for reply in "${COMPREPLY[@]}"; do
        [[ -n $quote ]] || reply=$head$reply
        [[ $reply == *[[:cntrl:]]* ]] && continue
        if [[ -n $quote ]]; then
            replies+=("$reply")
        elif [[ $reply == "$trim"* ]]; then
            replies+=("${reply#"$trim"}")
        fi
    done
    COMPREPLY=("${replies[@]}")
    [[ ${#replies[@]} == 1 && ${replies[0]} == *:: ]] && compopt -o nospace 2>/dev/null
    return 0
}

complete -F _kernel_bridge kernel-bridge jupyter-kernel-bridge
