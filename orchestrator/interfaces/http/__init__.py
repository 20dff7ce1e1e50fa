"""The HTTP API: thin routes over `client` and `operations`, problem+json for every error, a role for every route.

`app.build_app(client, settings)` gives the whole of it as one ASGI application; the console and the MCP server are mounted into the
same one. `server` runs it. Nothing here decides anything about sessions, and nothing speaks Redis or Celery.
"""
