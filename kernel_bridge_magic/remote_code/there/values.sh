# Reads or sets variables of a bash. It is run by `eval` in the owner's shell, and works in a subshell of that: only the
# lines that the subshell prints at its end, assignments, are run in the shell itself.
#
# __kernel_bridge_given holds words, or @ and the base64 of the path of a file that holds them: `g:NAME:` and
# `p:NAME:VALUE`, both in base64. The answer has one word for each: `=VALUE`, `-` for no such variable, `!` for one that
# is no plain text or cannot be set, `+` for one that was replaced. It goes to that file. Without a file it becomes the
# name of a variable, which completions tell, until the next run takes it away.
\builtin unset ${!__kernel_bridge_answer_*}
\builtin eval "$(
    \builtin set +e +u +x +f
    IFS=$' \t\n'
    __kernel_bridge_file=
    if [[ $__kernel_bridge_given == @* ]]; then
        __kernel_bridge_file=$(\command base64 -d <<< "${__kernel_bridge_given#@}")
        __kernel_bridge_given=$(< "$__kernel_bridge_file")
    fi
    __kernel_bridge_words=() __kernel_bridge_code= __kernel_bridge_bad=
    for __kernel_bridge_item in $__kernel_bridge_given; do
        __kernel_bridge_rest=${__kernel_bridge_item#?:}
        __kernel_bridge_name=$(\command base64 -d <<< "${__kernel_bridge_rest%%:*}")
        \builtin read -r _ __kernel_bridge_flags _ <<< "$(\builtin declare -p "$__kernel_bridge_name")"
        if [[ $__kernel_bridge_item == g:* ]]; then
            if [[ $__kernel_bridge_flags == -*[aAn]* ]]; then
                __kernel_bridge_words+=('!')
            elif [[ -z ${!__kernel_bridge_name+set} ]]; then
                __kernel_bridge_words+=(-)
            else
                __kernel_bridge_value=$(\builtin printf %s "${!__kernel_bridge_name}" |
                    \command base64 | \command tr -d '\n')
                __kernel_bridge_words+=("=$__kernel_bridge_value")
            fi
        elif [[ -n ${__kernel_bridge_flags//[-xt]/} ]]; then
            __kernel_bridge_words+=('!') __kernel_bridge_bad=1
        else
            if [[ -n ${!__kernel_bridge_name+set} ]]; then
                __kernel_bridge_words+=(+)
            else
                __kernel_bridge_words+=(-)
            fi
            # The point keeps line breaks at the end.
            __kernel_bridge_value=$(\command base64 -d <<< "${__kernel_bridge_rest#*:}" && \builtin printf .) ||
                __kernel_bridge_bad=1
            \builtin printf -v __kernel_bridge_value '%s=%q' "$__kernel_bridge_name" "${__kernel_bridge_value%.}"
            __kernel_bridge_code+=$__kernel_bridge_value$'\n'
        fi
    done
    if [[ -n $__kernel_bridge_bad ]]; then
        __kernel_bridge_code=
    fi
    if [[ -n $__kernel_bridge_file ]]; then
        if \builtin printf '%s ' "${__kernel_bridge_words[@]}" >| "$__kernel_bridge_file"; then
            \builtin printf %s "$__kernel_bridge_code"
        fi
    elif [[ -n $__kernel_bridge_given ]]; then
        __kernel_bridge_value="${__kernel_bridge_words[*]}"
        if (( ${#__kernel_bridge_value} > 400000 )); then
            __kernel_bridge_value=L
        fi
        __kernel_bridge_value=$(\builtin printf %s "$__kernel_bridge_value" |
            \command sed 's/+/_p/g;s,/,_s,g;s/=/_e/g;s/ /_b/g;s/-/_m/g;s/!/_x/g')
        \builtin printf '%s__kernel_bridge_answer_%s=\n' "$__kernel_bridge_code" "$__kernel_bridge_value"
    fi
)" 2> /dev/null
\builtin unset __kernel_bridge_given
# Our line goes from the history, and those that bash_kernel has typed for the completions.
while [[ $(\builtin history 1) == @(*': kernel_bridge;'*|*'compgen '*__kernel_bridge_answer_*) ]]; do
    \builtin history -d "$(\builtin history 1 | { \builtin read -r __kernel_bridge_line _ &&
        \builtin printf %s "${__kernel_bridge_line%\*}"; })" || \builtin break
done 2> /dev/null
\builtin true
