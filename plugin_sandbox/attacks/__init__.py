"""Attacks on the sandbox, shipped with it: so that whoever runs plugins can see what this very host stops.

Each is harmless where it succeeds: it reads, writes or signals only what the suite itself has laid out, and takes no more of a resource
than a machine can spare. None runs outside a finished box.
"""
