"""The app's MCP server."""
