"""Real servers for tests: a private Postfix and a private DNS server, both unpacked by tests/setup."""
