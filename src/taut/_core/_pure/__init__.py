"""The core in plain Python: a twin of each compiled module, for platforms without a wheel and for tests.

Same names, same results, same errors with the same offsets and words. Slower.
"""
