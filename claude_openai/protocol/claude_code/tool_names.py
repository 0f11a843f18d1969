"""The names of the client's tools in Claude Code, which gets them from an MCP server."""

__all__ = ["SERVER", "mcp_name", "own_name"]


SERVER = "openai"
_PREFIX = f"mcp__{SERVER}__"


def mcp_name(name: str) -> str:
    """Return Claude's name of a tool of the client."""
    return _PREFIX + name


def own_name(name: str) -> str | None:
    """Return the client's name of a tool, None if the tool is not the client's."""
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None
