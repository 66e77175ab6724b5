"""What a server needs to speak TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from taut.errors import ConfigError
from taut.transport.http.options import HttpOptions

__all__ = ["server_context"]


def server_context(options: HttpOptions) -> ssl.SSLContext | None:
    """Return the context for the certificate in ``options``; None where there is none.

    TLS 1.2 is the least that is spoken. With ``tls_client_ca`` clients need a certificate of those authorities.

    :raises taut.errors.ConfigError: a file cannot be read, is no certificate or key, or they do not match.
    """
    if options.tls_cert is None:
        return None
    for name in ("tls_cert", "tls_key", "tls_client_ca"):
        _check_file(name, getattr(options, name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A function, or else OpenSSL would ask for a missing password on the terminal.
        context.load_cert_chain(options.tls_cert, options.tls_key, lambda: options.tls_password or "")
    except (ssl.SSLError, OSError, ValueError) as error:
        name = "tls_cert" if options.tls_key is None else "tls_cert and tls_key"
        raise ConfigError(
            f"{name}: expected a certificate and its key in PEM format{_password_hint(options)}, got {error}"
        ) from error
    if options.tls_client_ca is not None:
        try:
            context.load_verify_locations(options.tls_client_ca)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"tls_client_ca: expected certificates in PEM format, got {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_file(name: str, path: str | None) -> None:
    """Say which file is missing: OpenSSL does not."""
    if path is None:
        return
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{name}: cannot read {path}: {error.strerror}") from error


def _password_hint(options: HttpOptions) -> str:
    return " that tls_password opens" if options.tls_password is not None else ""
