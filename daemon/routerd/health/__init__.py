"""Who is well: failure rules, breakers and cooldowns. Pure; the time is always passed in."""
