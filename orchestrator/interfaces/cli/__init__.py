"""The command line: thin commands over `orchestrator.client`, and the processes that they start.

`start` is the entry, `main` the one place where an error becomes an exit code; `lazy` imports a command when it is asked
for; `connect` finds the store; `output`, `shapes` and `wording` say how things look to programs and to people.
"""
