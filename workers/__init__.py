"""The processes that advance sessions: the only place that speaks Celery.

`composition` builds everything from settings; `tasks` hand sessions to `lanes`; the `executor`
takes one session through its steps; `steps` perform one kind of step each; `providers` and
`tools` reach models and MCP servers.
"""
