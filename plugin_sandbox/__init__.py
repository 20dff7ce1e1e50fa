"""Confines what nobody trusts: one process tree, in layers that fail closed.

Usable alone, and imports nothing of ours. Which plugins an app runs, and in which order, is not decided here.
"""
