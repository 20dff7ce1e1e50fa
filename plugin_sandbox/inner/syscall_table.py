"""Every system call of the two machines: its number, and whether a plugin may make it.

Complete up to the newest number that is named here: what is above it, or in a gap, answers ENOSYS, as on an older kernel. A test
sees to it that each call is in exactly one list. How the rules judge arguments, and the program made of all this: seccomp.py.
"""

from typing import Final

#: Names in the order of their numbers; each line begins with the first number of a run without gaps, or goes on.
_X86_64: Final = """
0 read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
ioctl pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl
dup dup2 pause nanosleep getitimer alarm setitimer getpid sendfile socket connect accept sendto recvfrom sendmsg
recvmsg shutdown bind listen getsockname getpeername socketpair setsockopt getsockopt clone fork vfork execve exit
wait4 kill uname semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate
getdents getcwd chdir fchdir rename mkdir rmdir creat link unlink symlink readlink chmod fchmod chown fchown lchown
umask gettimeofday getrlimit getrusage sysinfo times ptrace getuid syslog getgid setuid setgid geteuid getegid setpgid
getppid getpgrp setsid setreuid setregid getgroups setgroups setresuid getresuid setresgid getresgid getpgid setfsuid
setfsgid getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime mknod
uselib personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam sched_getparam sched_setscheduler
sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock munlock mlockall
munlockall vhangup modify_ldt pivot_root _sysctl prctl arch_prctl adjtimex setrlimit chroot sync acct settimeofday
mount umount2 swapon swapoff reboot sethostname setdomainname iopl ioperm create_module init_module delete_module
get_kernel_syms query_module quotactl nfsservctl getpmsg putpmsg afs_syscall tuxcall security gettid readahead
setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr
fremovexattr tkill time futex sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy io_getevents
io_submit io_cancel get_thread_area lookup_dcookie epoll_create epoll_ctl_old epoll_wait_old remap_file_pages
getdents64 set_tid_address restart_syscall semtimedop fadvise64 timer_create timer_settime timer_gettime
timer_getoverrun timer_delete clock_settime clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl
tgkill utimes vserver mbind set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify
mq_getsetattr kexec_load waitid add_key request_key keyctl ioprio_set ioprio_get inotify_init inotify_add_watch
inotify_rm_watch migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat
readlinkat fchmodat faccessat pselect6 ppoll unshare set_robust_list get_robust_list splice tee sync_file_range
vmsplice move_pages utimensat epoll_pwait signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime
accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open
recvmmsg fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg setns
getcpu process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom
memfd_create kexec_file_load bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect
pkey_alloc pkey_free statx io_pgetevents rseq uretprobe uprobe
424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount
fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr
quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv
set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat
open_tree_attr file_getattr file_setattr
"""
_AARCH64: Final = """
0 io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr
listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr getcwd lookup_dcookie eventfd2 epoll_create1
epoll_ctl epoll_pwait dup dup3 fcntl inotify_init1 inotify_add_watch inotify_rm_watch ioctl ioprio_set ioprio_get
flock mknodat mkdirat unlinkat symlinkat linkat renameat umount2 mount pivot_root nfsservctl statfs fstatfs truncate
ftruncate fallocate faccessat chdir fchdir chroot fchmod fchmodat fchownat fchown openat close vhangup pipe2 quotactl
getdents64 lseek read write readv writev pread64 pwrite64 preadv pwritev sendfile pselect6 ppoll signalfd4 vmsplice
splice tee readlinkat newfstatat fstat sync fsync fdatasync sync_file_range timerfd_create timerfd_settime
timerfd_gettime utimensat acct capget capset personality exit exit_group waitid set_tid_address unshare futex
set_robust_list get_robust_list nanosleep getitimer setitimer kexec_load init_module delete_module timer_create
timer_gettime timer_getoverrun timer_settime timer_delete clock_settime clock_gettime clock_getres clock_nanosleep
syslog ptrace sched_setparam sched_setscheduler sched_getscheduler sched_getparam sched_setaffinity sched_getaffinity
sched_yield sched_get_priority_max sched_get_priority_min sched_rr_get_interval restart_syscall kill tkill tgkill
sigaltstack rt_sigsuspend rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigreturn
setpriority getpriority reboot setregid setgid setreuid setuid setresuid getresuid setresgid getresgid setfsuid
setfsgid times setpgid getpgid getsid setsid getgroups setgroups uname sethostname setdomainname getrlimit setrlimit
getrusage umask prctl getcpu gettimeofday settimeofday adjtimex getpid getppid getuid geteuid getgid getegid gettid
sysinfo mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr msgget msgctl msgrcv msgsnd semget
semctl semtimedop semop shmget shmctl shmat shmdt socket socketpair bind listen accept connect getsockname getpeername
sendto recvfrom setsockopt getsockopt shutdown sendmsg recvmsg readahead brk munmap mremap add_key request_key keyctl
clone execve mmap fadvise64 swapon swapoff mprotect msync mlock munlock mlockall munlockall mincore madvise
remap_file_pages mbind get_mempolicy set_mempolicy migrate_pages move_pages rt_tgsigqueueinfo perf_event_open accept4
recvmmsg
260 wait4 prlimit64 fanotify_init fanotify_mark name_to_handle_at open_by_handle_at clock_adjtime syncfs setns
sendmmsg process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom
memfd_create bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc
pkey_free statx io_pgetevents rseq kexec_file_load
424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount
fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr
quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv
set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount
lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat
open_tree_attr file_getattr file_setattr
"""

#: What a plugin may call as it likes, by purpose.
ALLOWED: Final = {
    "files": """
        access chdir close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
        fallocate fchdir fstat fstatfs ftruncate getcwd getdents getdents64 link linkat lseek
        lstat mkdir mkdirat newfstatat pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
        readlink readlinkat readv rename renameat rmdir sendfile stat statfs statx symlink
        symlinkat umask unlink unlinkat write writev
    """,
    "memory": """
        brk membarrier mincore mprotect mremap munmap
    """,
    "waiting": """
        epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 pause pipe
        pipe2 poll ppoll pselect6 select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime
    """,
    "threads": """
        exit exit_group futex futex_requeue futex_wait futex_waitv futex_wake restart_syscall rseq
        sched_yield set_robust_list set_tid_address
    """,
    "signals": """
        rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sigaltstack
    """,
    "time": """
        alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time
        timer_create timer_delete timer_getoverrun timer_gettime timer_settime times
    """,
    "own process": """
        capget getcpu getegid geteuid getgid getgroups getpgrp getpid getppid getrandom getresgid getresuid
        getrlimit getrusage gettid getuid sched_get_priority_max sched_get_priority_min setpgid
        setsid sysinfo uname wait4 waitid
    """,
    "socket pairs": """
        getpeername getsockname getsockopt recvfrom recvmmsg recvmsg sendto shutdown
    """,
}

#: What it may call with some arguments only, or where its box grants it, by what the rule keeps out.
RULED: Final = {
    "processes that nothing grants, and new namespaces": """
        clone fork vfork execve execveat
    """,
    "signals to others, and a look at them": """
        kill tgkill getpgid getpriority getsid sched_getaffinity sched_getattr sched_getparam
        sched_getscheduler sched_rr_get_interval prlimit64
    """,
    "terminals, leases, signals by files, devices": """
        fcntl ioctl
    """,
    "memory that is shared with others, or that no limit counts": """
        madvise mmap setsockopt
    """,
    "the host's disk, which would be made to write": """
        msync
    """,
    "a device, which stands for what was removed": """
        renameat2
    """,
    "the limit that keeps a crash from the host's program for dumps": """
        setrlimit
    """,
    "switches of the process that a plugin has no use for": """
        arch_prctl prctl
    """,
    "the network": """
        connect socket socketpair
    """,
    "files of the same owner outside, which Landlock leaves open to these": """
        chmod fchmod fchmodat fchmodat2 futimesat open openat openat2 truncate utime utimensat utimes
    """,
    "capabilities, for the last step of a box without no_new_privs": """
        capset
    """,
}

#: What succeeds without effect: what is private, and judged before it counts, needs no disk and no cache of the host's.
EMPTIED: Final = {
    "the host's disk would be made to write, at any file that is seen": """
        fdatasync fsync sync_file_range
    """,
    "what others have read would be dropped, or read ahead": """
        fadvise64 readahead
    """,
}

#: What answers ENOSYS, as an older kernel does: libraries fall back, or go on without.
ABSENT: Final = {
    "flags in memory, where no filter looks; clone has them in a register": "clone3",
    "locks on files that are shared with the host and with other runs": "flock",
}

#: What answers ENOTSUP, as a file system without them does: copying goes on.
UNSUPPORTED: Final = {
    "extended attributes": """
        fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat
        llistxattr lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
    """,
}

#: What answers EPERM, by what it would reach.
DENIED: Final = {
    "namespaces and mounts": """
        chroot fsconfig fsmount fsopen fspick listmount mount mount_setattr move_mount open_tree
        open_tree_attr pivot_root setns statmount umount2 unshare
    """,
    "identities": """
        chown fchown fchownat lchown setfsgid setfsuid setgid setgroups setregid setresgid setresuid setreuid
        setuid
    """,
    "other processes": """
        get_mempolicy get_robust_list kcmp mbind migrate_pages move_pages pidfd_getfd pidfd_open
        pidfd_send_signal process_madvise process_mrelease process_vm_readv process_vm_writev ptrace
        rt_sigqueueinfo rt_tgsigqueueinfo set_mempolicy set_mempolicy_home_node tkill
    """,
    "priorities": """
        ioprio_get ioprio_set sched_setaffinity sched_setattr sched_setparam sched_setscheduler setpriority
    """,
    "memory that no limit counts": """
        map_shadow_stack memfd_create memfd_secret mlock mlock2 mlockall mq_getsetattr mq_notify mq_open
        mq_timedreceive mq_timedsend mq_unlink mseal msgctl msgget msgrcv msgsnd munlock munlockall pkey_alloc
        pkey_free pkey_mprotect remap_file_pages semctl semget semop semtimedop shmat shmctl shmdt shmget
        sendmmsg sendmsg splice tee vmsplice
    """,
    "network": """
        accept accept4 bind listen
    """,
    "special files, handles, watches": """
        fanotify_init fanotify_mark file_getattr file_setattr inotify_add_watch inotify_init inotify_init1
        inotify_rm_watch mknod mknodat name_to_handle_at open_by_handle_at quotactl quotactl_fd
    """,
    "the kernel's wide doors": """
        add_key bpf io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit io_uring_enter
        io_uring_register io_uring_setup keyctl landlock_add_rule landlock_create_ruleset
        landlock_restrict_self lsm_get_self_attr lsm_list_modules lsm_set_self_attr modify_ldt perf_event_open
        personality request_key seccomp uprobe uretprobe userfaultfd
    """,
    "the machine": """
        acct adjtimex clock_adjtime clock_settime delete_module finit_module init_module ioperm iopl
        kexec_file_load kexec_load reboot setdomainname sethostname settimeofday swapoff swapon sync syncfs
        syslog vhangup
    """,
    "old, unused, or never needed": """
        _sysctl afs_syscall cachestat create_module epoll_ctl_old epoll_wait_old get_kernel_syms
        get_thread_area getpmsg lookup_dcookie nfsservctl putpmsg query_module security set_thread_area sysfs
        tuxcall uselib ustat vserver
    """,
}


def _numbered(text: str) -> dict[str, int]:
    numbers: dict[str, int] = {}
    number = 0
    for word in text.split():
        if word.isdigit():
            number = int(word)
        else:
            numbers[word] = number
            number += 1
    return numbers


#: Machine, as `os.uname` names it -> name of a call -> its number there.
NUMBERS: Final = {"x86_64": _numbered(_X86_64), "aarch64": _numbered(_AARCH64)}
