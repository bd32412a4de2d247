"""Money and quotas: what things cost, what may be spent, what is left. Decides; no I/O, no clock.

Money is whole micro-dollars (millionths of a dollar), times are seconds since 1970.
"""
