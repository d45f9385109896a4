"""What runs answered: kept in a store, read back whole, seen as a grid. Nothing here boots a guest."""
