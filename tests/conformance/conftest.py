"""What is collected here: not the peer's side of a comparison, which runs in an environment of its own."""

collect_ignore = ["hooks_peer.py", "kernel_peer.py"]
