"""The kernel: what a session does next, decided over values.

Every function here takes values and returns values: no store, no queue, no clock, no randomness
(times and random numbers are parameters). What it decides is done elsewhere: `store/` writes it,
`workers/` performs it, `finalizer.py` settles it. So each rule can be read, tested and replayed
alone.

One step, from what is stored to what is committed:

    delivery    what the posts in a mailbox, and the time, do before the next step
    turns       what a model is asked, and what its answer means
    calls       which tool calls may be made now, and what their ends change
    children    what a supervisor submits, and when its wait for them is over
    plugin_pass which plugin comes next, what its outcome changes, and which workers can run it
    prompts     whether a person's answer to a plugin's question fits its fields
    advance     what follows when a skill has done its work
    change      what a step decided, as the value that the commit takes

The rules that they stand on, each usable alone:

    lookup      where a value is found in a tool call, and when two tool names mean the same tool
    terminal    which call ends a session, with which status and fields
    harvest     what a turn's calls say about confidence, rationale and signal
    routes      where a skill goes next
    risk        whether a call runs, leaves a notice, or waits for a person; the confidence gate
    approval    the only words that grant, who may say them, and what they are bound to
    answers     what an answer to a gate means: go on, stop, escalate, or refused
    inject      arguments that the runtime fills in and the model never sees
    updates     how a successful call changes the session's state
    lifecycle   what a session says when it starts, is forked, stops and ends, and its status after a run
    mount_validation  whether a mount plan can be mounted, and what it names
    module_rules      what makes a Python module one that can be mounted
    hook_data   what the handlers of an event are given
    hook_merge  what the answers of an event's hooks come to
    hook_effects      what such an answer does: what is injected, shown, asked
    sanitise, redaction  what a model may be shown, and what may be written down
    retry       whether a failure is tried again, and after how long
    backoff     how the delay between two tries grows, and what stretches it
    classification  what a service's words and status stand for, where it gave nothing better
    tool_output how a tool's result reads to a model
    expressions the small safe language of `when` conditions and `=` arguments

`live/` holds what runs over live objects in one process - hooks, mount points, modules, a session as
an object - and decides nothing that stands here.

The kernel imports `contracts` and nothing else of ours; it knows no app's words.
"""
