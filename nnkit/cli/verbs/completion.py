"""`nnkit completion SHELL`: print the script that makes TAB complete nnkit's words."""

import argparse
import sys

from nnkit.cli.completion import SHELLS, candidates

# Each script hands the words up to the cursor back to `nnkit completion --words`, which answers one a line.
_BASH = r"""
_nnkit() {
    local line="${COMP_LINE:0:COMP_POINT}" whole word prefix=""
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    whole="${words[${#words[@]}-1]}"
    # bash takes what stands after an = for a word of its own.
    [[ $COMP_WORDBREAKS == *=* && $whole == *=* ]] && prefix="${whole%=*}="
    COMPREPLY=()
    while IFS= read -r word; do
        word="${word#"$prefix"}"
        case $word in *[=./] | *\[*) ;; *) word+=" " ;; esac
        COMPREPLY+=("$word")
    done < <("${words[0]/#\~/$HOME}" completion --words "${words[@]:1}" 2> /dev/null)
}
complete -o nospace -o default -F _nnkit nnkit
"""
_ZSH = r"""#compdef nnkit
_nnkit() {
    local line word start="${(M)${(Q)PREFIX}##*[=\[,]}"
    local -a open closed before
    before=("${(@Q)words[2,CURRENT-1]}")
    for line in "${(@f)$(
        ${words[1]} completion --describe --words "${before[@]}" "${(Q)PREFIX}" 2> /dev/null
    )}"; do
        [[ -n $line ]] || continue
        word="${line%%$'\t'*}"
        line="${${word:$#start}//:/\\:}${${line:$#word}/#$'\t'/:}"
        case $word in
            *[=./] | *\[*) open+=("$line") ;;
            *) closed+=("$line") ;;
        esac
    done
    # What stands before the last = [ or , stays as it is.
    [[ $PREFIX == *=* ]] && compset -P '*[=\[,]'
    (( $#open + $#closed )) || { _files; return }
    (( $#open )) && _describe nnkit open -S ''
    (( $#closed )) && _describe nnkit closed
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _nnkit "$@"; else compdef _nnkit nnkit; fi
"""
_FISH = r"""
function __nnkit_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] completion --describe --words $words[2..-1] "$current" 2> /dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
        return
    end
    set -l key (string match -r '^[^=]*=' -- "$current")
    printf "$key%s\n" (__fish_complete_path (string replace -r '^[^=]*=' '' -- "$current"))
end
complete -c nnkit -f -a '(__nnkit_complete)'
"""
_SCRIPTS = dict(zip(SHELLS, (_BASH, _ZSH, _FISH), strict=True))
_HELP = """\
how to use it:
  bash  add to ~/.bashrc:  eval "$(nnkit completion bash)"
  zsh   add to ~/.zshrc, after compinit:  eval "$(nnkit completion zsh)"
  fish  nnkit completion fish > ~/.config/fish/completions/nnkit.fish
"""


def main(arguments: list[str]) -> int:
    """Print a script, or answer one: `--words WORD...` are the words after nnkit up to the cursor."""
    describe = arguments[:1] == ["--describe"]
    if arguments[describe : describe + 1] == ["--words"]:
        for word, about in candidates(arguments[describe + 1 :]):
            sys.stdout.write(f"{word}\t{about}\n" if describe and about else f"{word}\n")
        return 0
    parser = argparse.ArgumentParser(
        prog="nnkit completion",
        description="Print the tab completion of a shell.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    sys.stdout.write(_SCRIPTS[parser.parse_args(arguments).shell].lstrip("\n"))
    return 0
