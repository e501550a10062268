#compdef bindsharectl
# SPDX-License-Identifier: Apache-2.0
# zsh: completion for bindsharectl.

_bindsharectl() {
	local state
	local -a commands=(
		'share:what is on the list of shares, and changes of it'
		'status:what is mounted'
		'stats:requests, errors, bytes and times by operation'
		'top:the same live'
		'sync:wait until the guests know what was changed'
		'events:what happens, line by line'
		'token:a new token'
		'doctor:what is wrong, and what to do'
		'help:what a command does and takes'
	)

	_arguments -C \
		'(-c --control)'{-c,--control}'[control socket]:socket:_files' \
		'(-j --json)'{-j,--json}'[print JSON]' \
		'(-r --read-only)'{-r,--read-only}'[share add: only for reading]' \
		'--no-persist[share add, share rm: only until the server ends]' \
		'(-i --interval)'{-i,--interval}'[top: seconds between two looks]:seconds' \
		'(-n --count)'{-n,--count}'[top: end after so many looks]:looks' \
		'--sort[top\: order]:order:(requests time bytes errors lanes pid share)' \
		'--timeout[sync\: seconds to wait for guests]:seconds' \
		'--from-file[token rotate: take what is in the file]' \
		'--end-mounts[token rotate: end every mount]' \
		'--guest[doctor: check the guest]' \
		'--config[doctor --guest\: of bindshare-guestd]:file:_files' \
		'(- *)'{-V,--version}'[print the version]' \
		'(- *)'{-h,--help}'[print help]' \
		'1: :->command' \
		'2: :->second' \
		'3: :->third'
	case $state in
	command) _describe command commands ;;
	second)
		case ${words[2]} in
		share) _values command ls add rm ;;
		token) _values command rotate ;;
		sync) _files -/ ;;
		esac
		;;
	third) [[ ${words[2]} == share && ${words[3]} == (add|rm) ]] && _files -/ ;;
	esac
}

_bindsharectl "$@"
