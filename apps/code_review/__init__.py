"""Review one commit of a real git repository. See README.md in this folder."""
