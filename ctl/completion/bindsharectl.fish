# SPDX-License-Identifier: Apache-2.0
# fish: completion for bindsharectl.

complete -c bindsharectl -f
complete -c bindsharectl -n __fish_use_subcommand -a share -d 'the list of shares'
complete -c bindsharectl -n __fish_use_subcommand -a status -d 'what is mounted'
complete -c bindsharectl -n __fish_use_subcommand -a stats -d 'requests, errors, bytes and times'
complete -c bindsharectl -n __fish_use_subcommand -a top -d 'the same live'
complete -c bindsharectl -n __fish_use_subcommand -a sync -d 'wait until the guests know what was changed'
complete -c bindsharectl -n __fish_use_subcommand -a events -d 'what happens, line by line'
complete -c bindsharectl -n __fish_use_subcommand -a token -d 'a new token'
complete -c bindsharectl -n __fish_use_subcommand -a doctor -d 'what is wrong, and what to do'
complete -c bindsharectl -n __fish_use_subcommand -a help -d 'what a command does'
complete -c bindsharectl -n '__fish_seen_subcommand_from share; and not __fish_seen_subcommand_from ls add rm' \
    -a 'ls add rm'
complete -c bindsharectl -n '__fish_seen_subcommand_from add rm sync' -a '(__fish_complete_directories)'
complete -c bindsharectl -n '__fish_seen_subcommand_from token' -a rotate
complete -c bindsharectl -s c -l control -r -F -d 'control socket'
complete -c bindsharectl -s j -l json -d 'print JSON'
complete -c bindsharectl -s r -l read-only -d 'share add: only for reading'
complete -c bindsharectl -l no-persist -d 'share add, rm: only until the server ends'
complete -c bindsharectl -s i -l interval -x -d 'top: seconds between two looks'
complete -c bindsharectl -s n -l count -x -d 'top: end after so many looks'
complete -c bindsharectl -l sort -x -a 'requests time bytes errors lanes pid share' -d 'top: order'
complete -c bindsharectl -l timeout -x -d 'sync: seconds to wait for guests'
complete -c bindsharectl -l from-file -d 'token rotate: take what is in the file'
complete -c bindsharectl -l end-mounts -d 'token rotate: end every mount'
complete -c bindsharectl -l guest -d 'doctor: check the guest'
complete -c bindsharectl -l config -r -d 'doctor --guest: of bindshare-guestd'
complete -c bindsharectl -s V -l version -d 'print the version'
complete -c bindsharectl -s h -l help -d 'print help'
