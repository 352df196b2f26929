# What shtab's script for zsh leaves out: names of kernels and servers.

_kernel_bridge_kernels() { _kernel_bridge_names --kernels }
_kernel_bridge_servers() { _kernel_bridge_names --servers }

_kernel_bridge_names() {
  local -a names
  [[ $PREFIX == -* ]] && return 1               # an option: no need to start Python
  (( $words[(I)--base-url(|=*)] )) && return 1  # only a secret opens a server that is named by its URL
  names=("${(@f)$(@COMMAND@ completion "$1=${(Q)PREFIX}" 2>/dev/null </dev/null)}")
  names=(${names:#})
  (( $#names )) || return 1
  # -U: the names are those that fit, in upper or lower case
  compadd -U -S '' -- ${(M)names:#*::}
  compadd -U -- ${names:#*::}
}

# Files, but for those with control characters, which `_files` would come back for where nothing else fits.
_kernel_bridge_files() { _path_files -g '^*[[:cntrl:]]*' }

if [[ $zsh_eval_context[-1] == eval ]]; then
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
  compdef _shtab_kernel_bridge jupyter-kernel-bridge
fi
