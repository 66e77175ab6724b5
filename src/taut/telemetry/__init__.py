"""What can be seen from outside: hooks that the layers call, and adapters that are plugged into them."""
