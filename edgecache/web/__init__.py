"""aiohttp's server is imported here only."""
