"""The only place that speaks Redis.

`wire` carries commands, `scripts` are the acts (one Lua file each), `keys` says where things lie,
`codec` turns hashes into records. The other modules are what callers use, one concern each. What
a session should do next is decided elsewhere; here it is only written, atomically, under a fence.
"""
