"""Streamable HTTP without I/O: from a request's method, headers and body to what is answered."""
