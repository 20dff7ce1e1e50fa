"""The app's MCP servers."""
