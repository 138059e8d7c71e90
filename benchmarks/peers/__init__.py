"""Other libraries doing the same work. Each module says what it does not do; none is needed by the bus."""
