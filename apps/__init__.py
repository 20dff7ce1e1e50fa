"""The bundled apps: one folder each, found by path and loaded as data.

An app imports `orchestrator.contracts` and nothing else of the runtime; the runtime never imports an app by name.
"""
