"""The tools of support.toml: functions; their docstrings and types are what the model sees."""


def find_invoice(number: int) -> dict[str, object]:
    """Find an invoice.

    Args:
        number: Its number
    """
    return {"number": number, "amount": 40, "currency": "EUR"}
