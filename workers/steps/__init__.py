"""One module a kind of step: each gets a session and the world, and returns a Change.

A step decides nothing that the kernel could decide, writes nothing that the commit could write,
and may be cancelled at any await.
"""
