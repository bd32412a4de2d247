"""The HTTP front. Formats are pure; `web` and `net` alone know aiohttp."""
