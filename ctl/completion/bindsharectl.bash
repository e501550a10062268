# SPDX-License-Identifier: Apache-2.0
# bash: completion for bindsharectl.

_bindsharectl()
{
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local i commands=()

	COMPREPLY=()
	case $previous in
	-c | --control | --config)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	-i | --interval | -n | --count | --timeout)
		return
		;;
	--sort)
		mapfile -t COMPREPLY < <(compgen -W "requests time bytes errors lanes pid share" -- "$word")
		return
		;;
	esac
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "--control --json --read-only --no-persist --interval --count --sort --timeout \
			--from-file --end-mounts --guest --config --version --help" -- "$word")
		return
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-c | --control | -i | --interval | -n | --count | --sort | --timeout | --config) ((i++)) ;;
		-*) ;;
		*) commands+=("${COMP_WORDS[i]}") ;;
		esac
	done
	case "${commands[*]}" in
	'' | help)
		mapfile -t COMPREPLY < <(compgen -W "share status stats top sync events token doctor help" -- "$word")
		;;
	share | "help share")
		mapfile -t COMPREPLY < <(compgen -W "ls add rm" -- "$word")
		;;
	token | "help token")
		mapfile -t COMPREPLY < <(compgen -W "rotate" -- "$word")
		;;
	"share add" | "share rm" | sync)
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		;;
	esac
}

complete -o filenames -F _bindsharectl bindsharectl
