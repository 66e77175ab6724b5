"""Streamable HTTP: an ASGI application, and a uvicorn that serves it."""
