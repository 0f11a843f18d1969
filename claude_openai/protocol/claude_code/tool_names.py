"""The names of the client's tools in Claude Code, to which they are tools of an MCP server."""

__all__ = ["SERVER", "mcp_name", "own_name"]


SERVER = "openai"
_PREFIX = f"mcp__{SERVER}__"


def mcp_name(name: str) -> str:
    """The name under which Claude knows a tool of the client."""
    return _PREFIX + name


def own_name(name: str) -> str | None:
    """The client's name of a tool; None for one that is not the client's."""
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None
