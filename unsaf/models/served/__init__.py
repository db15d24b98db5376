"""Models behind a server that speaks like OpenAI's."""
