"""`rra completion`: the scripts that shells evaluate, and the answers that those scripts ask for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rra_cli.errors import EXIT_OK, UserError, did_you_mean

HELP = """\
rra completion: tab completion of commands, flags, groups, options and keys.

  bash   add to ~/.bashrc:                    eval "$(rra completion bash)"
  zsh    add to ~/.zshrc, behind compinit:    eval "$(rra completion zsh)"
  fish   add to ~/.config/fish/config.fish:   rra completion fish | source
"""

# bash splits words at `=` and `:` too, so what was typed up to the last of them is taken off the answers again.
_BASH = r"""
_rra_complete() {
    local line="${COMP_LINE:0:$COMP_POINT}"
    local word="${line##*[[:space:]]}" IFS=$'\n'
    local current="${COMP_WORDS[COMP_CWORD]}"
    local before=""
    if [[ "$word" == *[=:]* && "$COMP_WORDBREAKS" == *=* ]]; then
        before="${word%"${word##*[=:]}"}"
    fi
    COMPREPLY=()
    local answer
    while IFS= read -r answer; do
        [[ -n "$answer" ]] && COMPREPLY+=("${answer#"$before"}")
    done < <("${COMP_WORDS[0]}" completion query "$line" 2>/dev/null)
}
complete -o nospace -F _rra_complete rra
"""

_ZSH = r"""
_rra_complete() {
    local -a answers
    answers=("${(@f)$(${words[1]} completion query "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -- ${answers:#}
}
compdef _rra_complete rra
"""

# fish would escape a blank at the end; it adds one by itself.
_FISH = r"""
complete -c rra -f -a '(rra completion query (commandline -cp) 2>/dev/null | string trim -r)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(HELP)
        return EXIT_OK
    shell = arguments[0]
    if shell == "query":
        from rra_cli.cli.candidates import candidates

        sys.stdout.writelines(f"{answer}\n" for answer in candidates(" ".join(arguments[1:])))
        return EXIT_OK
    if shell not in SCRIPTS:
        raise UserError(
            f"rra completion: there is no shell {shell!r}; {did_you_mean(shell, SCRIPTS)}",
            "`rra completion --help` says how to install it",
        )
    sys.stdout.write(SCRIPTS[shell].lstrip("\n"))
    return EXIT_OK
