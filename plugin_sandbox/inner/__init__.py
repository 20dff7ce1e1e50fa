"""What runs on the other side of the worker's process: zygote, monitor, plugin.

The standard library alone, so that it starts fast and runs under any interpreter the operator names.
Nothing here holds a secret or decides what is allowed: it builds the box that the host describes, or says which part it
could not build.
"""
